// pool2d: the largest number or the mean of a window over pictures, channel by channel.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "ops/conv_window.h"

namespace pocketuni {
namespace {

class Pool2d final : public Op {
 public:
  explicit Pool2d(Attributes& attributes) : geometry_(PictureGeometry::parse(attributes)) {
    const std::string mode = attributes.text("mode");
    if (mode != "max" && mode != "mean") fail_argument("mode '" + mode + "' is not one of max, mean");
    mean_ = mode == "mean";
    counted_ = attributes.list("counted");
    const auto fits = [](int64_t count) { return count >= 0 && count <= 1 << 20; };
    if (counted_.size() != 4 || !std::all_of(counted_.begin(), counted_.end(), fits)) {
      fail_argument("counted is not four numbers from 0 to 1048576");
    }
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    check_picture(in[0], -1);
    const Shape& x = in[0].type.shape;
    return {{DType::kF32, {x[0], geometry_.down.output_rows(x[1]), geometry_.across.output_rows(x[2]), x[3]}}};
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override { return TimeMap::batch_if(axes[0] == 0); }

  // A row of what is outside, and the weights of a mean's taps.
  size_t scratch_bytes(const Inputs& in, int) const override {
    return static_cast<size_t>(in[0].type.shape[3] * (mean_ ? 1 + taps() : 1)) * sizeof(float);
  }

  void run(RunContext& context) const override {
    const Extent x = Extent::of(context.inputs[0].type.shape), y = Extent::of(context.outputs[0].type.shape);
    const int64_t channels = context.inputs[0].type.shape[3];
    float* scratch = reinterpret_cast<float*>(context.scratch);
    std::fill_n(scratch, channels, mean_ ? 0.0f : -std::numeric_limits<float>::infinity());
    if (mean_) std::fill_n(scratch + channels, channels * taps(), 1.0f);
    context.pool->parallel_parts(y.batch * y.height, y.width * channels * taps(),
                                 [&](int64_t begin, int64_t count, int) {
                                   for (int64_t line = begin; line < begin + count; ++line)
                                     run_line(context, x, y, channels, line);
                                 });
  }

 private:
  int64_t taps() const { return geometry_.down.taps * geometry_.across.taps; }

  void run_line(const RunContext& context, const Extent& x, const Extent& y, int64_t channels, int64_t line) const {
    const float* outside = reinterpret_cast<const float*>(context.scratch);
    ptrdiff_t line_rows[PictureGeometry::kMostLines];
    geometry_.lines(line % y.height, x.height, x.width, line_rows);
    ConvWindow window = geometry_.across.window(nullptr, 0, x.width, outside);
    window.lines = static_cast<int>(geometry_.down.taps), window.line_rows = line_rows;
    const float* from = context.inputs[0].f32() + line / y.height * x.pixels() * channels;
    float* to = static_cast<float*>(context.outputs[0].data) + line * y.width * channels;
    const int rows = static_cast<int>(y.width), width = static_cast<int>(channels);
    if (!mean_) {
      context.kernels->max_pool_f32(from, channels, &window, rows, width, to, channels);
      return;
    }
    const Epilogue none;
    context.kernels->depthwise_f32(from, channels, &window, rows, width, outside + channels, &none, to, channels);
    const int64_t down = counted(geometry_.down, line % y.height, x.height, counted_[0], counted_[2]);
    for (int64_t column = 0; column < y.width; ++column, to += channels) {
      const int64_t across = counted(geometry_.across, column, x.width, counted_[1], counted_[3]);
      const float divisor = static_cast<float>(std::max<int64_t>(1, down * across));
      context.kernels->binary_f32(Binary::kDiv, to, 1, &divisor, 0, to, static_cast<size_t>(channels));
    }
  }

  /// How many taps at a place of the result go into the divisor of a mean.
  static int64_t counted(const ConvGeometry& g, int64_t place, int64_t size, int64_t before, int64_t after) {
    int64_t count = 0;
    for (int64_t tap = 0; tap < g.taps; ++tap) {
      const int64_t at = place * g.stride - g.pad_left + tap * g.dilation;
      if (at >= -before && at < size + after) ++count;
    }
    return count;
  }

  PictureGeometry geometry_;
  bool mean_ = false;
  std::vector<int64_t> counted_;  // top, left, bottom, right: how far outside pixels count as zeros in a mean
};

}  // namespace

std::unique_ptr<Op> make_pool2d(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<Pool2d>(attributes);
}

}  // namespace pocketuni
