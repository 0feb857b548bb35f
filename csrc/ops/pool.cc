// pool: one vector per sequence, from the positions that the mask keeps.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class Pool final : public Op {
 public:
  explicit Pool(const std::string& mode) {
    static const char* const names[] = {"mean", "cls", "max", "last"};
    for (int i = 0; i < 4; ++i) {
      if (mode == names[i]) {
        mode_ = static_cast<Mode>(i);
        return;
      }
    }
    fail_argument("mode '" + mode + "' is not one of mean, cls, max, last");
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const Shape& x = in[0].type.shape;
    if (x.size() != 3) fail_argument("x is " + shape_text(x) + ", expected [batch, time, width]");
    if (in.size() > 1 && in[1].present) {
      expect_plain(in[1], "mask");
      if (in[1].type.shape != Shape{x[0], x[1]}) fail_argument("mask is " + shape_text(in[1].type.shape));
    }
    return {{DType::kF32, {x[0], x[2]}}};
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override { return TimeMap::batch_if(axes[0] == 0); }

  void run(RunContext& context) const override {
    const Shape& shape = context.inputs[0].type.shape;
    for (int64_t b = 0; b < shape[0]; ++b) {
      pool(context, b, shape[1], shape[2], context.outputs[0].f32() + b * shape[2]);
    }
  }

 private:
  enum Mode { kMean, kCls, kMax, kLast };

  static bool kept(const RunContext& context, int64_t index) {
    if (context.inputs.size() < 2 || context.inputs[1].data == nullptr) return true;
    const Tensor& mask = context.inputs[1];
    if (mask.type.dtype == DType::kBool) return static_cast<const uint8_t*>(mask.data)[index] != 0;
    if (mask.type.dtype == DType::kF32) return mask.f32()[index] != 0;
    return integer_at(mask, index) != 0;
  }

  void pool(const RunContext& context, int64_t batch, int64_t time, int64_t width, float* y) const {
    const Kernels& kernels = *context.kernels;
    const float* x = context.inputs[0].f32() + batch * time * width;
    const size_t n = static_cast<size_t>(width);
    std::fill_n(y, n, mode_ == kMax ? -std::numeric_limits<float>::infinity() : 0.0f);
    int64_t count = 0;
    for (int64_t t = 0; t < time; ++t) {
      if (mode_ != kCls && !kept(context, batch * time + t)) continue;
      const float* row = x + t * width;
      if (mode_ == kMean) kernels.binary_f32(Binary::kAdd, y, 1, row, 1, y, n);
      if (mode_ == kMax) kernels.binary_f32(Binary::kMax, y, 1, row, 1, y, n);
      if (mode_ == kLast || mode_ == kCls) std::copy_n(row, n, y);
      ++count;
      if (mode_ == kCls) return;
    }
    if (count == 0) std::fill_n(y, n, 0.0f);
    const float divisor = static_cast<float>(std::max<int64_t>(count, 1));
    if (mode_ == kMean) kernels.binary_f32(Binary::kDiv, y, 1, &divisor, 0, y, n);
  }

  Mode mode_ = kMean;
};

}  // namespace

std::unique_ptr<Op> make_pool(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<Pool>(attributes.text("mode"));
}

}  // namespace pocketuni
