#include "speech/pitch_meter.h"

#include <algorithm>
#include <cmath>

#include "speech/audio_frames.h"
#include "speech/dot.h"

namespace pocketuni {
namespace {

constexpr int64_t kDown = 4;
constexpr float kQuarterHz = kRateHz / 4.0f;
constexpr int64_t kWindow = 256;                    // samples at a quarter of the rate: 46 ms
constexpr int64_t kLeastLag = 13, kMostLag = 92;    // 424 to 60 Hz
constexpr int64_t kSpan = kWindow + kMostLag + 1;   // one more, so that the last lag can be seen to be a peak
constexpr int64_t kStep = 2 * kHopSamples / kDown;  // two mel frames
constexpr int64_t kLead = kSpan / 2 - static_cast<int64_t>(kHopSamples) / 2 / kDown;  // before the frame's first sample
constexpr float kLeastCorrelation = 0.5f;
constexpr float kPartHeight = 0.93f;  // of the highest peak, from which on one at a part of its lag is taken instead
constexpr float kSilence = 1e-9f;

// Histogram: levels of 3 dB below full scale, pitches of a tenth of a semitone from 55 Hz.
constexpr size_t kLevels = 30, kPitches = 400;
constexpr double kLevelDb = 3, kLowestHz = 55, kStepsPerOctave = 120;
constexpr double kLoudShare = 0.05;      // the loudest 5 % of frames set the level
constexpr size_t kLevelsBelow = 20 / 3;  // that may be missing to it
constexpr uint64_t kLeastFrames = 8;

struct Peak {
  float lag = 0, height = 0;
};

/// The top of the parabola through a local maximum and its neighbours; none elsewhere.
Peak peak_at(const float* correlation, int64_t lag) {
  const float before = correlation[lag - 1], here = correlation[lag], behind = correlation[lag + 1];
  if (here <= before || here < behind) return {};
  const float slope = (behind - before) / 2, bend = before - 2 * here + behind;
  return {static_cast<float>(lag) - slope / bend, here - slope * slope / (2 * bend)};
}

}  // namespace

PitchFrames::PitchFrames() : quarter_(kDown, 1), held_(kLead, 0.0f), frame_(kSpan) {}

void PitchFrames::push(const float* samples, size_t count, std::vector<PitchFrame>* frames) {
  quarter_.push(samples, count, &held_);
  int64_t at = 0;
  for (; at + kSpan <= static_cast<int64_t>(held_.size()); at += kStep) frames->push_back(measure(held_.data() + at));
  held_.erase(held_.begin(), held_.begin() + at);
}

PitchFrame PitchFrames::measure(const float* samples) {
  float mean = 0;
  for (int64_t i = 0; i < kSpan; ++i) mean += samples[i];
  mean /= static_cast<float>(kSpan);
  for (int64_t i = 0; i < kSpan; ++i) frame_[static_cast<size_t>(i)] = samples[i] - mean;
  const float* x = frame_.data();
  const float power = dot_lanes(x, x, kWindow);
  const float level_db = 10 * std::log10(power / kWindow + kSilence);
  if (power <= kSilence * kWindow) return {0, level_db};

  float correlation[kMostLag + 2] = {};
  for (int64_t lag = kLeastLag - 1; lag <= kMostLag + 1; ++lag) {
    const float there = dot_lanes(x + lag, x + lag, kWindow);
    correlation[lag] = dot_lanes(x, x + lag, kWindow) / std::sqrt(power * there + kSilence);
  }
  Peak best;
  for (int64_t lag = kLeastLag; lag <= kMostLag; ++lag) {
    const Peak peak = peak_at(correlation, lag);
    if (peak.height > best.height) best = peak;
  }
  if (best.height < kLeastCorrelation) return {0, level_db};
  // What has the period p has the period n p, too, and which of them is highest is up to where the samples lie.
  for (int64_t part = static_cast<int64_t>(best.lag) / kLeastLag; part >= 2; --part) {
    const auto near = static_cast<int64_t>(std::lround(best.lag / static_cast<float>(part)));
    for (int64_t lag = std::max(kLeastLag, near - 1); lag <= near + 1; ++lag) {
      const Peak peak = peak_at(correlation, lag);
      if (peak.height > kPartHeight * best.height) return {kQuarterHz / peak.lag, level_db};
    }
  }
  return {kQuarterHz / best.lag, level_db};
}

PitchMedian::PitchMedian() : counts_(kLevels * kPitches) {}

void PitchMedian::add(const PitchFrame& frame) {
  if (frame.hz <= 0) return;
  const double below = -static_cast<double>(frame.power_db) / kLevelDb;
  const double step = std::log2(static_cast<double>(frame.hz) / kLowestHz) * kStepsPerOctave;
  const auto level = static_cast<size_t>(std::clamp(below, 0.0, kLevels - 1.0));
  const auto pitch = static_cast<size_t>(std::clamp(step, 0.0, kPitches - 1.0));
  ++counts_[level * kPitches + pitch];
}

double PitchMedian::log_f0() const {
  uint64_t all = 0;
  for (uint32_t count : counts_) all += count;
  uint64_t loud = 0;
  size_t level = 0;
  const auto row = [&](size_t index) { return counts_.begin() + static_cast<ptrdiff_t>(index * kPitches); };
  for (; level < kLevels; ++level) {
    for (auto count = row(level); count != row(level + 1); ++count) loud += *count;
    if (static_cast<double>(loud) > kLoudShare * static_cast<double>(all)) break;
  }
  std::vector<uint64_t> pitches(kPitches);
  uint64_t used = 0;
  for (size_t each = 0; each < std::min(kLevels, level + kLevelsBelow + 1); ++each) {
    for (size_t pitch = 0; pitch < kPitches; ++pitch) pitches[pitch] += row(each)[static_cast<ptrdiff_t>(pitch)];
  }
  for (uint64_t count : pitches) used += count;
  if (used < kLeastFrames) return 0;
  uint64_t passed = 0;
  size_t median = 0;
  while (2 * (passed + pitches[median]) < used) passed += pitches[median++];
  return std::log(kLowestHz) + std::log(2.0) * (static_cast<double>(median) + 0.5) / kStepsPerOctave;
}

}  // namespace pocketuni
