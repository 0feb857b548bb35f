// Reductions of float tensors over any axes, and argmax.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class ReduceOp final : public Op {
 public:
  ReduceOp(const std::string& op, Attributes& a)
      : mean_(op == "reduce_mean"), axes_(a.list("axes")), keep_(a.flag("keepdims")) {
    if (op == "reduce_max") kind_ = Reduce::kMax;
    if (op == "reduce_min") kind_ = Reduce::kMin;
    if (op == "reduce_prod") kind_ = Reduce::kProd;
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const Shape& x = in[0].type.shape;
    const std::vector<bool> reduced = chosen_axes(axes_, x.size());
    Shape y;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!reduced[i]) y.push_back(x[i]);
      if (reduced[i] && keep_) y.push_back(1);
    }
    return {{DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs& in, int) const override {
    return static_cast<size_t>(reduced_count(in[0].type.shape)) * sizeof(float);
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    return TimeMap::rows_if(axes[0] < 0 || !chosen_axes(axes_, in[0].type.shape.size())[static_cast<size_t>(axes[0])]);
  }

  void run(RunContext& context) const override {
    const Shape& shape = context.inputs[0].type.shape;
    const std::vector<bool> reduced = chosen_axes(axes_, shape.size());
    const int64_t count = reduced_count(shape), outputs = element_count(context.outputs[0].type.shape);
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    const float* x = context.inputs[0].f32();
    float* row = reinterpret_cast<float*>(context.scratch);
    const bool contiguous = trailing(reduced);
    if (!contiguous && kind_ != Reduce::kSum && !mean_ && kind_ != Reduce::kProd && block(reduced)) {
      return extremes(context, shape, reduced, count);
    }
    for (int64_t o = 0; o < outputs; ++o) {
      const float* from = x + offset(o, shape, strides, reduced, false);
      if (!contiguous) {
        for (int64_t i = 0; i < count; ++i) row[i] = from[offset(i, shape, strides, reduced, true)];
        from = row;
      }
      float result = context.kernels->reduce_f32(kind_, from, static_cast<size_t>(count));
      if (mean_) result /= static_cast<float>(count);
      context.outputs[0].f32()[o] = result;
    }
  }

 private:
  int64_t reduced_count(const Shape& shape) const {
    const std::vector<bool> reduced = chosen_axes(axes_, shape.size());
    int64_t count = 1;
    for (size_t i = 0; i < shape.size(); ++i) count *= reduced[i] ? shape[i] : 1;
    return count;
  }

  /// Whether the axes that are reduced follow each other.
  static bool block(const std::vector<bool>& reduced) {
    const auto begin = std::find(reduced.begin(), reduced.end(), true);
    return std::find(std::find(begin, reduced.end(), false), reduced.end(), true) == reduced.end();
  }

  /// The largest or smallest of rows, element by element: their order does not matter.
  void extremes(RunContext& context, const Shape& shape, const std::vector<bool>& reduced, int64_t count) const {
    int64_t outer = 1, inner = 1;
    const size_t first = static_cast<size_t>(std::find(reduced.begin(), reduced.end(), true) - reduced.begin());
    for (size_t i = 0; i < first; ++i) outer *= shape[i];
    for (size_t i = first; i < shape.size(); ++i) inner *= reduced[i] ? 1 : shape[i];
    const float* x = context.inputs[0].f32();
    float* y = context.outputs[0].f32();
    const size_t n = static_cast<size_t>(inner);
    for (int64_t o = 0; o < outer; ++o, y += inner) {
      std::fill_n(y, n, (kind_ == Reduce::kMax ? -1 : 1) * std::numeric_limits<float>::infinity());
      for (int64_t i = 0; i < count; ++i, x += inner) {
        context.kernels->binary_f32(kind_ == Reduce::kMax ? Binary::kMax : Binary::kMin, y, 1, x, 1, y, n);
      }
    }
  }

  static bool trailing(const std::vector<bool>& reduced) { return std::is_sorted(reduced.begin(), reduced.end()); }

  // Offset of the index-th element of the part of the shape that is (or is not) reduced.
  static int64_t offset(int64_t index, const Shape& shape, const std::vector<int64_t>& strides,
                        const std::vector<bool>& reduced, bool part) {
    int64_t at = 0;
    for (size_t i = shape.size(); i-- > 0;) {
      if (reduced[i] != part) continue;
      at += index % shape[i] * strides[i];
      index /= shape[i];
    }
    return at;
  }

  Reduce kind_ = Reduce::kSum;
  bool mean_;
  std::vector<int64_t> axes_;
  bool keep_;
};

// Of equal numbers the first counts, or the last; NaN counts as larger than all others.
class ArgMax final : public Op {
 public:
  explicit ArgMax(Attributes& a) : axis_(a.integer("axis")), keep_(a.flag("keepdims")), last_(a.flag("last")) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    Shape y = in[0].type.shape;
    const size_t axis = normalize_axis(axis_, y.size());
    if (y[axis] == 0 && element_count(y) == 0) fail_argument("the axis has no elements");
    keep_ ? void(y[axis] = 1) : void(y.erase(y.begin() + static_cast<int64_t>(axis)));
    return {{DType::kI64, y}};
  }

  void run(RunContext& context) const override {
    const Shape& x = context.inputs[0].type.shape;
    const size_t axis = normalize_axis(axis_, x.size());
    int64_t inner = 1;
    for (size_t i = axis + 1; i < x.size(); ++i) inner *= x[i];
    const int64_t outputs = element_count(context.outputs[0].type.shape);
    for (int64_t o = 0; o < outputs; ++o) {
      const float* from = context.inputs[0].f32() + o / inner * x[axis] * inner + o % inner;
      int64_t best = 0;
      for (int64_t i = 1; i < x[axis]; ++i) {
        const float value = from[i * inner], largest = from[best * inner];
        if (value > largest || (last_ && value == largest) || (value != value && (last_ || largest == largest)))
          best = i;
      }
      static_cast<int64_t*>(context.outputs[0].data)[o] = best;
    }
  }

 private:
  int64_t axis_;
  bool keep_, last_;
};

}  // namespace

std::unique_ptr<Op> make_argmax(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<ArgMax>(attributes);
}

std::unique_ptr<Op> make_reduce(const NodeSpec& node, Attributes& attributes, const Inputs&) {
  return std::make_unique<ReduceOp>(node.op, attributes);
}

}  // namespace pocketuni
