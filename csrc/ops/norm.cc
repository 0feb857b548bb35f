// Normalizations over the last dimension, and softmax over any.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

constexpr int64_t kLeastRow = 64;  // numbers that a row takes as long as, however short it is

int64_t last_dim(const Shape& shape) {
  if (shape.empty()) fail_argument("x is a single number, expected at least one dimension");
  return shape.back();
}

class Norm final : public Op {
 public:
  Norm(const std::string& op, Attributes& attributes)
      : kind_(op == "layer_norm" ? kLayer
              : op == "rms_norm" ? kRms
                                 : kL2),
        eps_(static_cast<float>(kind_ == kL2 ? attributes.real("eps", 1e-12) : attributes.real("eps"))) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const int64_t dim = last_dim(in[0].type.shape);
    for (size_t i = 1; i < in.size(); ++i) {
      if (!in[i].present) continue;
      expect_float(in[i], "the scale");
      if (in[i].type.shape != Shape{dim}) fail_argument("scale or shift is " + shape_text(in[i].type.shape));
    }
    return {in[0].type};
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    return TimeMap::rows_if(!is_last_axis(in[0], axes[0]));
  }

  void run(RunContext& context) const override {
    const Shape& shape = context.inputs[0].type.shape;
    const int64_t dim = shape.back(), rows = dim ? element_count(shape) / dim : 0;
    const float* x = context.inputs[0].f32();
    const float* gamma = context.inputs.size() > 1 ? context.inputs[1].f32() : nullptr;
    const float* beta = context.inputs.size() > 2 ? context.inputs[2].f32() : nullptr;
    float* y = context.outputs[0].f32();
    const Kernels& kernels = *context.kernels;
    context.pool->parallel_parts(rows, std::max(dim, kLeastRow), [&](int64_t begin, int64_t count, int) {
      const float* from = x + begin * dim;
      float* to = y + begin * dim;
      const int n = static_cast<int>(count), d = static_cast<int>(dim);
      if (kind_ == kLayer) kernels.layer_norm_f32(from, n, d, gamma, beta, eps_, to);
      if (kind_ == kRms) kernels.rms_norm_f32(from, n, d, gamma, eps_, to);
      if (kind_ == kL2) l2(kernels, from, n, d, to);
    });
  }

 private:
  void l2(const Kernels& kernels, const float* x, int rows, int dim, float* y) const {
    const size_t n = static_cast<size_t>(dim);
    for (int r = 0; r < rows; ++r, x += dim, y += dim) {
      kernels.binary_f32(Binary::kMul, x, 1, x, 1, y, n);
      const float norm = std::sqrt(kernels.reduce_f32(Reduce::kSum, y, n));
      const float divisor = norm > eps_ || std::isnan(norm) ? norm : eps_;
      kernels.binary_f32(Binary::kDiv, x, 1, &divisor, 0, y, n);
    }
  }

  enum Kind { kLayer, kRms, kL2 } kind_;
  float eps_;
};

class Softmax final : public Op {
 public:
  Softmax(bool log, int64_t axis) : log_(log), axis_(axis) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    normalize_axis(axis_, in[0].type.shape.size());
    return {in[0].type};
  }

  size_t scratch_bytes(const Inputs& in, int threads) const override {
    const Shape& shape = in[0].type.shape;
    return static_cast<size_t>(threads) * 2 * sizeof(float) *
           static_cast<size_t>(shape[normalize_axis(axis_, shape.size())]);
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    return TimeMap::rows_if(static_cast<int>(normalize_axis(axis_, in[0].type.shape.size())) != axes[0]);
  }

  void run(RunContext& context) const override {
    const Shape& shape = context.inputs[0].type.shape;
    const size_t axis = normalize_axis(axis_, shape.size());
    int64_t inner = 1;
    for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
    const int64_t dim = shape[axis], rows = element_count(shape) / std::max<int64_t>(dim, 1);
    const float* x = context.inputs[0].f32();
    float* y = context.outputs[0].f32();
    if (inner == 1) {
      context.pool->parallel_parts(rows, std::max(dim, kLeastRow), [&](int64_t begin, int64_t count, int) {
        softmax(*context.kernels, x + begin * dim, count, dim, y + begin * dim);
      });
      return;
    }
    float* row = reinterpret_cast<float*>(context.scratch);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t base = r / inner * inner * dim + r % inner;
      for (int64_t i = 0; i < dim; ++i) row[i] = x[base + i * inner];
      float* result = row + dim;
      softmax(*context.kernels, row, 1, dim, result);
      for (int64_t i = 0; i < dim; ++i) y[base + i * inner] = result[i];
    }
  }

 private:
  void softmax(const Kernels& kernels, const float* x, int64_t rows, int64_t dim, float* y) const {
    if (!log_) return kernels.softmax_f32(x, static_cast<int>(rows), static_cast<int>(dim), y);
    const auto n = static_cast<size_t>(dim);
    for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
      kernels.unary_f32(Unary::kScale, x, y, n, 1.0f, -kernels.reduce_f32(Reduce::kMax, x, n));
      float sum = 0, part[256];
      for (size_t i = 0; i < n; i += std::size(part)) {
        const size_t some = std::min(n - i, std::size(part));
        kernels.unary_f32(Unary::kExp, y + i, part, some, 0.0f, 0.0f);
        sum += kernels.reduce_f32(Reduce::kSum, part, some);
      }
      kernels.unary_f32(Unary::kScale, y, y, n, 1.0f, -std::log(sum));
    }
  }

  bool log_;
  int64_t axis_;
};

}  // namespace

std::unique_ptr<Op> make_norm(const NodeSpec& node, Attributes& attributes, const Inputs&) {
  return std::make_unique<Norm>(node.op, attributes);
}

std::unique_ptr<Op> make_softmax(const NodeSpec& node, Attributes& attributes, const Inputs&) {
  return std::make_unique<Softmax>(node.op == "log_softmax", attributes.integer("axis", -1));
}

}  // namespace pocketuni
