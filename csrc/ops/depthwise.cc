// depthwise_conv1d: a convolution over time of each channel alone. Also what the convolutions share.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/conv_window.h"

namespace pocketuni {

namespace {

int64_t bounded(Attributes& attributes, const char* name, int64_t fallback, int64_t low, int64_t high) {
  const int64_t value = attributes.integer(name, fallback);
  if (value < low || value > high) {
    fail_argument(std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
                  std::to_string(high));
  }
  return value;
}

}  // namespace

ConvGeometry ConvGeometry::parse(Attributes& attributes, int64_t taps) {
  constexpr int64_t kMost = 1 << 20;
  if (taps < 1 || taps > kMost) fail_argument("taps is " + std::to_string(taps) + ", expected 1 to 1048576");
  ConvGeometry g{};
  g.taps = taps;
  g.stride = bounded(attributes, "stride", 1, 1, kMost);
  g.dilation = bounded(attributes, "dilation", 1, 1, kMost);
  g.pad_left = bounded(attributes, "pad_left", 0, 0, kMost);
  g.pad_right = bounded(attributes, "pad_right", 0, 0, kMost);
  return g;
}

void check_conv_input(const InputInfo& x, int64_t channels) {
  expect_float(x, "x");
  const Shape& shape = x.type.shape;
  if (shape.size() != 3 || shape[2] != channels || shape[1] > (1 << 30)) {
    fail_argument("x is " + shape_text(shape) + ", expected [batch, time, " + std::to_string(channels) + "]");
  }
}

void check_optional(const Inputs& in, size_t index, const Shape& shape, const char* role) {
  if (index >= in.size() || !in[index].present) return;
  expect_float(in[index], role);
  if (in[index].type.shape != shape) {
    fail_argument(std::string(role) + " is " + shape_text(in[index].type.shape) + ", expected " + shape_text(shape));
  }
}

const float* optional_data(const RunContext& context, size_t index) {
  return index < context.inputs.size() ? context.inputs[index].f32() : nullptr;
}

namespace {

constexpr int64_t kMinElements = 16384;  // for which starting another thread pays

class DepthwiseConv1d final : public Op {
 public:
  DepthwiseConv1d(Attributes& attributes, const Inputs& inputs)
      : channels_(weight_shape(inputs)[1]),
        geometry_(ConvGeometry::parse(attributes, weight_shape(inputs)[0])),
        activation_(parse_activation(attributes.text("activation", "none"))) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    check_conv_input(in[0], channels_);
    const Shape& x = in[0].type.shape;
    check_optional(in, 2, {channels_}, "bias");
    return {{DType::kF32, {x[0], geometry_.output_rows(x[1]), channels_}}};
  }

  size_t scratch_bytes(const Inputs&, int) const override { return static_cast<size_t>(channels_) * sizeof(float); }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    return axes[0] == 1 ? geometry_.time_map() : TimeMap{};
  }

  void run(RunContext& context) const override {
    const int64_t length = context.inputs[0].type.shape[1], rows = context.outputs[0].type.shape[1];
    const int64_t batch = context.outputs[0].type.shape[0];
    std::memset(context.scratch, 0, static_cast<size_t>(channels_) * sizeof(float));
    Epilogue epilogue;
    epilogue.bias = optional_data(context, 2);
    epilogue.activation = activation_;
    const int64_t share = std::clamp<int64_t>(kMinElements / std::max<int64_t>(channels_, 1), 1, rows);
    const int64_t parts = (rows + share - 1) / share;
    context.pool->parallel(static_cast<int>(batch * parts), [&](int index, int) {
      const int64_t b = index / parts, row = index % parts * share;
      const ConvWindow window = geometry_.window(context.chunk, row, length, context.scratch);
      context.kernels->depthwise_f32(context.inputs[0].f32() + b * length * channels_, channels_, &window,
                                     static_cast<int>(std::min(share, rows - row)), static_cast<int>(channels_),
                                     context.inputs[1].f32(), &epilogue,
                                     context.outputs[0].f32() + (b * rows + row) * channels_, channels_);
    });
  }

 private:
  static const Shape& weight_shape(const Inputs& inputs) {
    expect_float(inputs[1], "the weight");
    if (inputs[1].tensor == nullptr || inputs[1].type.shape.size() != 2) {
      fail_argument("the weight is not a constant [taps, channels]");
    }
    return inputs[1].type.shape;
  }

  int64_t channels_;
  ConvGeometry geometry_;
  Activation activation_;
};

}  // namespace

std::unique_ptr<Op> make_depthwise_conv1d(const NodeSpec&, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<DepthwiseConv1d>(attributes, inputs);
}

}  // namespace pocketuni
