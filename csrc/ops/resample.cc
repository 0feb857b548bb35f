// resample: along one axis, every element of the result is a weighted sum of a few elements of x. It is what resizing
// with any interpolation comes to, axis by axis.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class Resample final : public Op {
 public:
  Resample(Attributes& attributes, const Inputs& inputs) : axis_(attributes.integer("axis")) {
    expect_integer(inputs[1], "indices");
    expect_float(inputs[2], "weights");
    const TensorEntry *indices = inputs[1].tensor, *weights = inputs[2].tensor;
    if (indices == nullptr || weights == nullptr || indices->dims.size() != 2 || indices->dims != weights->dims) {
      fail_argument("indices and weights are not two constants [size, taps]");
    }
    if (indices->encoding != Encoding::kI32) fail_argument("indices are not int32");
    const int32_t* at = reinterpret_cast<const int32_t*>(indices->data);
    for (int64_t i = 0; i < element_count(indices->dims); ++i) {
      if (at[i] < 0) fail_argument("an index is negative");
      largest_ = std::max<int64_t>(largest_, at[i]);
    }
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    Shape y = in[0].type.shape;
    const size_t axis = normalize_axis(axis_, y.size());
    const int64_t old = y[axis];
    y[axis] = in[1].type.shape[0];
    if (largest_ >= old && element_count(y) > 0) {
      fail_argument("index " + std::to_string(largest_) + " is outside a dimension of " + std::to_string(old));
    }
    return {{DType::kF32, y}};
  }

  void run(RunContext& context) const override {
    const Shape &from = context.inputs[0].type.shape, &to = context.outputs[0].type.shape;
    const size_t axis = normalize_axis(axis_, to.size());
    int64_t outer = 1, inner = 1;
    for (size_t i = 0; i < axis; ++i) outer *= to[i];
    for (size_t i = axis + 1; i < to.size(); ++i) inner *= to[i];
    const int64_t size = to[axis], taps = context.inputs[1].type.shape[1], old = from[axis];
    const int32_t* indices = static_cast<const int32_t*>(context.inputs[1].data);
    const float* weights = context.inputs[2].f32();
    context.pool->parallel_parts(outer * size, inner * taps, [&](int64_t begin, int64_t count, int) {
      for (int64_t row = begin; row < begin + count; ++row) {
        const float* x = context.inputs[0].f32() + row / size * old * inner;
        float* y = context.outputs[0].f32() + row * inner;
        std::memset(y, 0, static_cast<size_t>(inner) * sizeof(float));
        for (int64_t tap = row % size * taps; tap < (row % size + 1) * taps; ++tap) {
          const float *source = x + indices[tap] * inner, weight = weights[tap];
          for (int64_t i = 0; i < inner; ++i) y[i] += weight * source[i];
        }
      }
    });
  }

 private:
  int64_t axis_, largest_ = -1;
};

}  // namespace

std::unique_ptr<Op> make_resample(const NodeSpec&, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<Resample>(attributes, inputs);
}

}  // namespace pocketuni
