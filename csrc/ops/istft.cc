// istft: inverse Fourier transforms of frames, windowed, overlapped and divided by the overlapped squares of the
// window.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/spectral.h"

namespace pocketuni {

FrameGeometry FrameGeometry::parse(Attributes& attributes) {
  FrameGeometry g{};
  g.n_fft = attributes.integer("n_fft");
  g.hop = attributes.integer("hop");
  if (g.n_fft < 64 || g.n_fft > 4096 || (g.n_fft & (g.n_fft - 1)) != 0) {
    fail_argument("n_fft is " + std::to_string(g.n_fft) + ", expected a power of two from 64 to 4096");
  }
  if (g.hop < 1 || g.hop > g.n_fft || (g.n_fft - g.hop) % 2 != 0) {
    fail_argument("hop is " + std::to_string(g.hop) + ", expected 1 to n_fft, and n_fft - hop even");
  }
  g.edge = (g.n_fft - g.hop) / 2;
  for (int64_t n = 0; n < g.n_fft; ++n) {
    g.window.push_back(static_cast<float>(
        0.5 - 0.5 * std::cos(6.283185307179586476925 * static_cast<double>(n) / static_cast<double>(g.n_fft))));
  }
  return g;
}

namespace {

constexpr int64_t kBlockRows = 32;  // rows at a time: their frames stay in the cache

class Istft final : public Op {
 public:
  explicit Istft(Attributes& attributes)
      : frames_(FrameGeometry::parse(attributes)),
        tables_(static_cast<int>(frames_.n_fft / 2)),
        reach_(((frames_.n_fft + frames_.hop) / 2 - 1) / frames_.hop),
        inner_(static_cast<size_t>(frames_.hop)) {
    fill_inverse(reach_, 2 * reach_ + 1, inner_.data());
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const Shape& x = in[0].type.shape;
    if (x.size() != 3 || x[2] != 2 * frames_.bins()) {
      fail_argument("x is " + shape_text(x) + ", expected [batch, time, " + std::to_string(2 * frames_.bins()) + "]");
    }
    return {{DType::kF32, {x[0], x[1], frames_.hop}}};
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    return axes[0] == 1 ? TimeMap{TimeMap::kWindow, 1, 1, -reach_, reach_} : TimeMap{};
  }

  size_t scratch_bytes(const Inputs&, int threads) const override {
    return static_cast<size_t>(threads) * thread_floats() * sizeof(float);
  }

  void run(RunContext& context) const override {
    const int64_t batch = context.outputs[0].type.shape[0], rows = context.outputs[0].type.shape[1];
    const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    context.pool->parallel(static_cast<int>(batch * blocks), [&](int index, int thread) {
      const int64_t row = index % blocks * kBlockRows;
      block(context, index / blocks, row, std::min(kBlockRows, rows - row),
            reinterpret_cast<float*>(context.scratch) + static_cast<size_t>(thread) * thread_floats());
    });
  }

 private:
  size_t thread_floats() const { return tables_.scratch_floats() + static_cast<size_t>(frames_.n_fft + frames_.hop); }

  /// 1 over the overlapped squares of the window for row `row` of a sequence of `total` frames.
  void fill_inverse(int64_t row, int64_t total, float* inverse) const {
    for (int64_t n = 0; n < frames_.hop; ++n) {
      double weight = 0;
      for (int64_t f = std::max<int64_t>(0, row - reach_); f <= std::min(row + reach_, total - 1); ++f) {
        const int64_t at = n + (row - f) * frames_.hop + frames_.edge;
        if (at < 0 || at >= frames_.n_fft) continue;
        weight +=
            static_cast<double>(frames_.window[static_cast<size_t>(at)]) * frames_.window[static_cast<size_t>(at)];
      }
      inverse[n] = weight < 1e-10 ? 0.0f : static_cast<float>(1.0 / weight);
    }
  }

  /// Rows [row, row + count) of the result at hand. Frames are added in their order, wherever the chunk begins.
  void block(const RunContext& context, int64_t batch, int64_t row, int64_t count, float* scratch) const {
    const Kernels& kernels = *context.kernels;
    const FftPlan plan = tables_.plan();
    const int64_t length = context.inputs[0].type.shape[1], rows = context.outputs[0].type.shape[1];
    const int64_t input_first = context.chunk != nullptr ? context.chunk->input_first : 0;
    const int64_t output_first = context.chunk != nullptr ? context.chunk->output_first : 0;
    const int64_t total = context.chunk != nullptr ? context.chunk->input_total : length;
    const float* x = context.inputs[0].f32() + batch * length * 2 * frames_.bins();
    float* y = static_cast<float*>(context.outputs[0].data) + (batch * rows + row) * frames_.hop;
    float *frame = scratch + tables_.scratch_floats(), *inverse = frame + frames_.n_fft;
    std::fill_n(y, count * frames_.hop, 0.0f);
    const int64_t first = output_first + row;  // in the whole sequence
    const int64_t from = std::max(input_first, first - reach_);
    const int64_t to = std::min(input_first + length, first + count + reach_);
    for (int64_t f = from; f < to; ++f) {
      const float* bins = x + (f - input_first) * 2 * frames_.bins();
      kernels.real_inverse_f32(&plan, bins, bins + frames_.bins(), frame, scratch);
      kernels.binary_f32(Binary::kMul, frame, 1, frames_.window.data(), 1, frame, frames_.window.size());
      const int64_t begin = (f - first) * frames_.hop - frames_.edge;  // of the frame in y
      const int64_t low = std::max<int64_t>(0, begin), high = std::min(count * frames_.hop, begin + frames_.n_fft);
      if (low < high) {
        kernels.binary_f32(Binary::kAdd, y + low, 1, frame + (low - begin), 1, y + low,
                           static_cast<size_t>(high - low));
      }
    }
    for (int64_t r = 0; r < count; ++r, y += frames_.hop) {
      const int64_t at = first + r;
      const bool inside = at >= reach_ && (total > at + reach_);
      if (!inside) fill_inverse(at, total, inverse);
      kernels.binary_f32(Binary::kMul, y, 1, inside ? inner_.data() : inverse, 1, y, inner_.size());
    }
  }

  FrameGeometry frames_;
  FftTables tables_;
  int64_t reach_;             // frames before and behind that reach into a row
  std::vector<float> inner_;  // of a row whose frames are all there
};

}  // namespace

std::unique_ptr<Op> make_istft(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<Istft>(attributes);
}

}  // namespace pocketuni
