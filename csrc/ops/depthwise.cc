// depthwise_conv1d, depthwise_conv2d: a convolution of each channel alone, over time or over pictures.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/conv_window.h"

namespace pocketuni {
namespace {

constexpr int64_t kTapsOfPass = 4;  // take as long as passing over a number

class Depthwise final : public Op {
 public:
  Depthwise(Attributes& attributes, const Inputs& inputs, bool picture)
      : taps_(weight_shape(inputs)[0]), channels_(weight_shape(inputs)[1]), picture_(picture) {
    geometry_ = picture ? PictureGeometry::parse(attributes)
                        : PictureGeometry{{}, ConvGeometry::parse(attributes, weight_shape(inputs)[0])};
    activation_ = parse_activation(attributes.text("activation", "none"));
    if (geometry_.down.taps * geometry_.across.taps != taps_) {
      fail_argument("the weight has " + std::to_string(taps_) + " taps, the kernel " +
                    std::to_string(geometry_.down.taps * geometry_.across.taps));
    }
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    picture_ ? check_picture(in[0], channels_) : check_conv_input(in[0], channels_);
    check_optional(in, 2, {channels_}, "bias");
    Shape y = in[0].type.shape;
    if (picture_) y[1] = geometry_.down.output_rows(y[1]);
    y[y.size() - 2] = geometry_.across.output_rows(y[y.size() - 2]);
    return {{DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs&, int) const override { return static_cast<size_t>(channels_) * sizeof(float); }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    return axes[0] == 1 && !picture_ ? geometry_.across.time_map() : TimeMap::batch_if(axes[0] == 0);
  }

  void run(RunContext& context) const override {
    const Extent x = Extent::of(context.inputs[0].type.shape), y = Extent::of(context.outputs[0].type.shape);
    std::memset(context.scratch, 0, static_cast<size_t>(channels_) * sizeof(float));
    Epilogue epilogue;
    epilogue.bias = optional_data(context, 2);
    epilogue.activation = activation_;
    const int64_t lines = y.batch * y.height, taps = geometry_.down.taps * geometry_.across.taps;
    const int64_t cost = channels_ * taps / kTapsOfPass;
    if (lines == 1) {
      context.pool->parallel_parts(y.width, cost, [&](int64_t begin, int64_t count, int) {
        run_line(context, x, y, epilogue, 0, begin, count);
      });
    } else {
      context.pool->parallel_parts(lines, y.width * cost, [&](int64_t begin, int64_t count, int) {
        for (int64_t line = begin; line < begin + count; ++line) run_line(context, x, y, epilogue, line, 0, y.width);
      });
    }
  }

 private:
  // Pixels [begin, begin + count) of a line of the results in the batch.
  void run_line(const RunContext& context, const Extent& x, const Extent& y, const Epilogue& epilogue, int64_t line,
                int64_t begin, int64_t count) const {
    ptrdiff_t line_rows[PictureGeometry::kMostLines];
    geometry_.lines(line % y.height, x.height, x.width, line_rows);
    ConvWindow window = geometry_.across.window(context.chunk, begin, x.width, context.scratch);
    window.lines = static_cast<int>(geometry_.down.taps), window.line_rows = line_rows;
    context.kernels->depthwise_f32(
        context.inputs[0].f32() + line / y.height * x.pixels() * channels_, channels_, &window, static_cast<int>(count),
        static_cast<int>(channels_), context.inputs[1].f32(), &epilogue,
        static_cast<float*>(context.outputs[0].data) + (line * y.width + begin) * channels_, channels_);
  }

  static const Shape& weight_shape(const Inputs& inputs) {
    expect_float(inputs[1], "the weight");
    if (inputs[1].tensor == nullptr || inputs[1].type.shape.size() != 2) {
      fail_argument("the weight is not a constant [taps, channels]");
    }
    return inputs[1].type.shape;
  }

  int64_t taps_, channels_;
  bool picture_;
  PictureGeometry geometry_;
  Activation activation_ = Activation::kNone;
};

}  // namespace

std::unique_ptr<Op> make_depthwise_conv(const NodeSpec& node, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<Depthwise>(attributes, inputs, node.op == "depthwise_conv2d");
}

}  // namespace pocketuni
