// mel_spectrogram: frames of samples, their magnitudes, triangular bands on the mel scale, logarithm.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/spectral.h"

namespace pocketuni {
namespace {

// Slaney's scale: linear up to 1000 Hz (15 mel), logarithmic above.
constexpr double kHzPerMel = 200.0 / 3, kBreakHz = 1000.0, kBreakMel = kBreakHz / kHzPerMel;
const double kLogStep = std::log(6.4) / 27;

double to_mel(double hz) { return hz < kBreakHz ? hz / kHzPerMel : kBreakMel + std::log(hz / kBreakHz) / kLogStep; }
double to_hz(double mel) {
  return mel < kBreakMel ? mel * kHzPerMel : kBreakHz * std::exp((mel - kBreakMel) * kLogStep);
}

/// A triangle over bins, its area in Hz 1.
struct Band {
  int64_t first;
  std::vector<float> weights;
};

class MelSpectrogram final : public Op {
 public:
  explicit MelSpectrogram(Attributes& attributes)
      : frames_(FrameGeometry::parse(attributes)),
        tables_(static_cast<int>(frames_.n_fft / 2)),
        floor_(static_cast<float>(attributes.real("floor", 1e-5))) {
    const int64_t mels = attributes.integer("mels");
    const double rate = attributes.real("rate"), low = attributes.real("low", 0),
                 high = attributes.real("high", rate / 2);
    if (mels < 1 || mels > 4096) fail_argument("mels is " + std::to_string(mels) + ", expected 1 to 4096");
    if (!(rate > 0) || !(low >= 0) || !(high > low) || !(high <= rate / 2) || !(floor_ > 0)) {
      fail_argument("expected 0 <= low < high <= rate / 2 and a positive floor");
    }
    for (int64_t m = 0; m < mels; ++m) {
      double edge[3];
      for (int i = 0; i < 3; ++i) {
        const double share = static_cast<double>(m + i) / static_cast<double>(mels + 1);
        edge[i] = to_hz(to_mel(low) + share * (to_mel(high) - to_mel(low)));
      }
      bands_.push_back(make_band(edge, rate / static_cast<double>(frames_.n_fft)));
    }
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "samples");
    const Shape& x = in[0].type.shape;
    if (x.size() != 2) fail_argument("samples are " + shape_text(x) + ", expected [batch, samples]");
    return {{DType::kF32, {x[0], x[1] / frames_.hop, static_cast<int64_t>(bands_.size())}}};
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    if (axes[0] != 1) return {};
    return {TimeMap::kWindow, 1, frames_.hop, -frames_.edge, frames_.n_fft - frames_.edge - 1};
  }

  size_t scratch_bytes(const Inputs&, int threads) const override {
    return static_cast<size_t>(threads) * thread_floats() * sizeof(float);
  }

  void run(RunContext& context) const override {
    const int64_t batch = context.outputs[0].type.shape[0], rows = context.outputs[0].type.shape[1];
    context.pool->parallel(static_cast<int>(batch * rows), [&](int index, int thread) {
      row(context, index / rows, index % rows,
          reinterpret_cast<float*>(context.scratch) + static_cast<size_t>(thread) * thread_floats());
    });
  }

 private:
  size_t thread_floats() const {
    return tables_.scratch_floats() + static_cast<size_t>(frames_.n_fft + 2 * frames_.bins());
  }

  Band make_band(const double* edge, double hz_per_bin) const {
    Band band{0, {}};
    for (int64_t bin = 0; bin < frames_.bins(); ++bin) {
      const double hz = static_cast<double>(bin) * hz_per_bin;
      if (hz <= edge[0]) continue;
      if (hz >= edge[2]) break;
      const double weight = std::min((hz - edge[0]) / (edge[1] - edge[0]), (edge[2] - hz) / (edge[2] - edge[1]));
      if (band.weights.empty()) band.first = bin;
      band.weights.push_back(static_cast<float>(weight * 2 / (edge[2] - edge[0])));
    }
    return band;
  }

  /// The sample at a place before the first or behind the last one: that at the mirrored place.
  static int64_t mirrored(int64_t at, int64_t total) {
    if (total <= 1) return 0;
    while (at < 0 || at >= total) at = at < 0 ? -at : 2 * (total - 1) - at;
    return at;
  }

  void row(const RunContext& context, int64_t batch, int64_t index, float* scratch) const {
    const Kernels& kernels = *context.kernels;
    const FftPlan plan = tables_.plan();
    const int64_t length = context.inputs[0].type.shape[1], rows = context.outputs[0].type.shape[1];
    const int64_t input_first = context.chunk != nullptr ? context.chunk->input_first : 0;
    const int64_t total = context.chunk != nullptr ? context.chunk->input_total : length;
    const int64_t begin =
        ((context.chunk != nullptr ? context.chunk->output_first : 0) + index) * frames_.hop - frames_.edge;
    const float* x = context.inputs[0].f32() + batch * length;
    float *frame = scratch + tables_.scratch_floats(), *re = frame + frames_.n_fft, *im = re + frames_.bins();
    for (int64_t n = 0; n < frames_.n_fft; ++n) frame[n] = x[mirrored(begin + n, total) - input_first];
    const size_t bins = static_cast<size_t>(frames_.bins());
    kernels.binary_f32(Binary::kMul, frame, 1, frames_.window.data(), 1, frame, frames_.window.size());
    kernels.real_fft_f32(&plan, frame, re, im, scratch);
    kernels.binary_f32(Binary::kMul, re, 1, re, 1, re, bins);
    kernels.binary_f32(Binary::kMul, im, 1, im, 1, im, bins);
    kernels.binary_f32(Binary::kAdd, re, 1, im, 1, re, bins);
    kernels.unary_f32(Unary::kScale, re, re, bins, 1.0f, 1e-9f);
    kernels.unary_f32(Unary::kSqrt, re, re, bins, 0.0f, 0.0f);
    float* y =
        static_cast<float*>(context.outputs[0].data) + (batch * rows + index) * static_cast<int64_t>(bands_.size());
    for (size_t m = 0; m < bands_.size(); ++m) {
      float sum = 0;
      for (size_t i = 0; i < bands_[m].weights.size(); ++i)
        sum += bands_[m].weights[i] * re[bands_[m].first + static_cast<int64_t>(i)];
      y[m] = std::log(std::max(sum, floor_));  // the kernel's bits depend on the instruction set
    }
  }

  FrameGeometry frames_;
  FftTables tables_;
  float floor_;
  std::vector<Band> bands_;
};

}  // namespace

std::unique_ptr<Op> make_mel_spectrogram(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<MelSpectrogram>(attributes);
}

}  // namespace pocketuni
