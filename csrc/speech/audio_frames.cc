#include "speech/audio_frames.h"

#include <algorithm>
#include <cmath>

namespace pocketuni {
namespace {

constexpr double kTwoPi = 6.283185307179586476925;
constexpr size_t kReach = 2;  // frames before and behind a frame that share samples with its own 256

/// Of `pushed` rows, how many frames from `pulled` on have all that reaches into them.
size_t settled(size_t frames, size_t pushed, size_t pulled) {
  if (pushed == frames) return frames - pulled;
  return pushed < pulled + kReach ? 0 : pushed - pulled - kReach;
}

}  // namespace

std::vector<float> hann_window() {
  std::vector<float> window;
  for (size_t n = 0; n < kFftSamples; ++n) {
    window.push_back(static_cast<float>(0.5 - 0.5 * std::cos(kTwoPi * static_cast<double>(n) / kFftSamples)));
  }
  return window;
}

SourceFrames::SourceFrames()
    : fft_(kFftSamples),
      window_(hann_window()),
      pulses_(kFftSamples),
      noise_(kFftSamples),
      re_(kFftSamples),
      im_(kFftSamples) {}

void SourceFrames::start(size_t frames, uint32_t seed) {
  train_ = {};
  frames_ = frames;
  pulled_ = 0;
  seed_ = seed;
}

void SourceFrames::push(const float* log_f0, size_t count) {
  train_.append(log_f0, count);
  if (train_.frames() == frames_) train_.finish();
}

size_t SourceFrames::ready() const { return settled(frames_, train_.frames(), pulled_); }

void SourceFrames::pull(float* rows, size_t count) {
  const int64_t end = static_cast<int64_t>(frames_ * kHopSamples);
  for (size_t r = 0; r < count; ++r, rows += kSourceWidth, ++pulled_) {
    // Frames overlap: only the first one of an utterance has nothing but new samples.
    const size_t kept = pulled_ == 0 ? 0 : kFftSamples - kHopSamples, fresh = kFftSamples - kept;
    std::copy(pulses_.end() - static_cast<ptrdiff_t>(kept), pulses_.end(), pulses_.begin());
    std::copy(noise_.end() - static_cast<ptrdiff_t>(kept), noise_.end(), noise_.begin());
    const auto first = static_cast<int64_t>(pulled_ * kHopSamples + kept) - static_cast<int64_t>(kEdgeSamples);
    train_.read(first, fresh, pulses_.data() + kept);
    hashed_noise(first, fresh, end, noise_.data() + kept, seed_);
    for (size_t n = 0; n < kFftSamples; ++n) re_[n] = pulses_[n] * window_[n], im_[n] = noise_[n] * window_[n];
    // Two real signals, pulses and noise, are one complex signal; its spectrum falls apart into theirs by symmetry.
    fft_.forward(re_.data(), im_.data());
    for (size_t k = 0; k < kBins; ++k) {
      const size_t mirror = (kFftSamples - k) % kFftSamples;
      rows[k] = (re_[k] + re_[mirror]) / 2;
      rows[kBins + k] = (im_[k] - im_[mirror]) / 2;
      rows[2 * kBins + k] = (im_[k] + im_[mirror]) / 2;
      rows[3 * kBins + k] = (re_[mirror] - re_[k]) / 2;
    }
  }
}

InverseStft::InverseStft()
    : inverse_(kFftSamples), window_(hann_window()), frame_(kFftSamples), weights_(kHopSamples) {}

void InverseStft::start(size_t frames) {
  frames_ = frames;
  pushed_ = pulled_ = 0;
  sum_.clear();
}

void InverseStft::push(const float* rows, size_t count) {
  for (size_t r = 0; r < count; ++r, rows += kSpectrumWidth, ++pushed_) {
    inverse_.run(rows, rows + kBins, frame_.data());
    const size_t at = (pushed_ - pulled_) * kHopSamples;
    if (sum_.size() < at + kFftSamples) sum_.resize(at + kFftSamples, 0.0f);
    for (size_t n = 0; n < kFftSamples; ++n) sum_[at + n] += window_[n] * frame_[n];
  }
}

size_t InverseStft::ready() const { return settled(frames_, pushed_, pulled_); }

/// What the windows of all frames add up to, squared, at sample `n` of a frame.
float InverseStft::weight(int64_t frame, int64_t n) const {
  const auto hop = static_cast<int64_t>(kHopSamples), frames = static_cast<int64_t>(frames_);
  float sum = 0;
  for (int64_t other = frame - 2; other <= frame + 2; ++other) {
    const int64_t at = static_cast<int64_t>(kEdgeSamples) + n + (frame - other) * hop;  // in the other's window
    if (other < 0 || other >= frames || at < 0 || at >= static_cast<int64_t>(kFftSamples)) continue;
    sum += window_[static_cast<size_t>(at)] * window_[static_cast<size_t>(at)];
  }
  return sum;
}

void InverseStft::pull(float* samples, size_t count) {
  for (size_t r = 0; r < count; ++r, ++pulled_, samples += kHopSamples) {
    const float* sum = sum_.data() + r * kHopSamples + kEdgeSamples;
    const bool inner = pulled_ >= kReach && pulled_ + kReach < frames_;
    if (!inner || pulled_ == kReach) {
      for (size_t n = 0; n < kHopSamples; ++n) {
        weights_[n] = weight(static_cast<int64_t>(pulled_), static_cast<int64_t>(n));
      }
    }
    for (size_t n = 0; n < kHopSamples; ++n) samples[n] = sum[n] / weights_[n];
  }
  sum_.erase(sum_.begin(), sum_.begin() + static_cast<ptrdiff_t>(std::min(count * kHopSamples, sum_.size())));
}

}  // namespace pocketuni
