// The geometry of frames (docs/voice.md, Audio and mel), and the two directions between samples and spectra of frames.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "speech/excitation.h"
#include "speech/fft.h"

namespace pocketuni {

constexpr int kRateHz = 22050;
constexpr size_t kHopSamples = 256, kFftSamples = 1024, kBins = kFftSamples / 2 + 1;
/// Samples that a frame covers before its own 256, and behind them.
constexpr size_t kEdgeSamples = (kFftSamples - kHopSamples) / 2;
/// A row of the vocoder's input `source`: real and imaginary parts of pulses, then of noise.
constexpr size_t kSourceWidth = 4 * kBins;
/// A row of the vocoder's result `spectrum`: real parts, then imaginary parts.
constexpr size_t kSpectrumWidth = 2 * kBins;

/// Periodic Hann, 1,024 samples.
std::vector<float> hann_window();

/// Rows of `source` while F0 arrives, for one utterance after another. Row t needs F0 up to frame t + 2. Rows do not
/// depend on how F0 is cut into pieces. Not thread-safe.
class SourceFrames {
 public:
  SourceFrames();

  /// Begins an utterance of `frames` frames, at least 2. `seed` shifts the noise; docs/voice.md means 0.
  void start(size_t frames, uint32_t seed);
  /// The natural logarithm of F0 in Hz of the next frames.
  void push(const float* log_f0, size_t count);
  /// Rows that can be pulled.
  size_t ready() const;
  /// Writes `count` <= ready() rows of kSourceWidth.
  void pull(float* rows, size_t count);

 private:
  Fft fft_;
  std::vector<float> window_, pulses_, noise_, re_, im_;
  PulseTrain train_;
  size_t frames_ = 0, pulled_ = 0;
  uint32_t seed_ = 0;
};

/// Rows of `spectrum` to samples, for one utterance after another: inverse transform, window, overlap-add. T rows give
/// 256 T samples; those of frame t are ready when row t + 2, or the last one, has come. Samples do not depend on how
/// the rows are cut into pieces. Not thread-safe.
class InverseStft {
 public:
  InverseStft();

  /// Begins an utterance of `frames` frames.
  void start(size_t frames);
  /// Adds `count` rows of kSpectrumWidth.
  void push(const float* rows, size_t count);
  /// Frames whose samples can be pulled.
  size_t ready() const;
  /// Writes 256 samples for each of `count` <= ready() frames.
  void pull(float* samples, size_t count);

 private:
  float weight(int64_t frame, int64_t n) const;

  RealInverse inverse_;
  std::vector<float> window_, frame_, weights_;  // weights of the frame pulled last; all inner frames have the same
  std::vector<float> sum_;  // overlap-added frames; starts where the window of frame pulled_ starts
  size_t frames_ = 0, pushed_ = 0, pulled_ = 0;
};

}  // namespace pocketuni
