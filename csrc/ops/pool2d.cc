// pool2d: the largest number or the mean of a window over pictures, channel by channel.
#include <algorithm>
#include <limits>

#include "base/buffer.h"
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

  size_t scratch_bytes(const Inputs& in, int threads) const override {
    const Shape& x = in[0].type.shape;
    return static_cast<size_t>(threads) * round64(static_cast<size_t>(x[2] * x[3]) * sizeof(float));
  }

  // The lines under a window become one line first, which takes few and long calls.
  void run(RunContext& context) const override {
    const Shape &from = context.inputs[0].type.shape, &to = context.outputs[0].type.shape;
    const int64_t width = from[2] * from[3];
    const size_t bytes = round64(static_cast<size_t>(width) * sizeof(float));
    const int64_t cost = width * geometry_.down.taps;
    context.pool->parallel_parts(to[0] * to[1], cost, [&](int64_t begin, int64_t count, int thread) {
      for (int64_t index = begin; index < begin + count; ++index) {
        const float* x = context.inputs[0].f32() + index / to[1] * from[1] * width;
        float* y = context.outputs[0].f32() + static_cast<int64_t>(index) * to[2] * to[3];
        float* line = reinterpret_cast<float*>(context.scratch + static_cast<size_t>(thread) * bytes);
        const Range rows = covered(geometry_.down, index % to[1], from[1], counted_[0], counted_[2]);
        gather(context, x, width, rows, line, static_cast<size_t>(width));
        for (int64_t column = 0; column < to[2]; ++column, y += to[3]) {
          const Range columns = covered(geometry_.across, column, from[2], counted_[1], counted_[3]);
          gather(context, line, from[3], columns, y, static_cast<size_t>(to[3]));
          const float divisor = static_cast<float>(std::max<int64_t>(1, rows.counted * columns.counted));
          if (mean_) context.kernels->binary_f32(Binary::kDiv, y, 1, &divisor, 0, y, static_cast<size_t>(to[3]));
        }
      }
    });
  }

 private:
  /// Taps [begin, end) lie inside; `counted` taps go into the divisor of a mean.
  struct Range {
    int64_t first, step, begin, end, counted;
  };

  static Range covered(const ConvGeometry& g, int64_t place, int64_t size, int64_t before, int64_t after) {
    Range range{place * g.stride - g.pad_left, g.dilation, g.taps, 0, 0};
    for (int64_t tap = 0; tap < g.taps; ++tap) {
      const int64_t at = range.first + tap * g.dilation;
      if (at >= -before && at < size + after) ++range.counted;
      if (at < 0 || at >= size) continue;
      range.begin = std::min(range.begin, tap);
      range.end = tap + 1;
    }
    return range;
  }

  /// y[n] = the largest, or the sum, of the rows of a range, `stride` apart.
  void gather(const RunContext& context, const float* x, int64_t stride, const Range& range, float* y, size_t n) const {
    if (range.begin >= range.end) {
      std::fill_n(y, n, mean_ ? 0.0f : -std::numeric_limits<float>::infinity());
      return;
    }
    const auto row = [&](int64_t tap) { return x + (range.first + tap * range.step) * stride; };
    std::copy_n(row(range.begin), n, y);
    for (int64_t tap = range.begin + 1; tap < range.end; ++tap) {
      context.kernels->binary_f32(mean_ ? Binary::kAdd : Binary::kMax, y, 1, row(tap), 1, y, n);
    }
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
