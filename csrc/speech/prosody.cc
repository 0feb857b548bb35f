#include "speech/prosody.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "speech/audio_frames.h"
#include "speech/units.h"

namespace pocketuni {
namespace {

/// No unit is longer than this at speed 1 (4.6 s), whatever the encoder says.
constexpr double kMaxLogFrames = 6.0;
/// Frames of a break that the towers compute (0.46 s); they have not learned longer pauses.
constexpr size_t kMaxPause = 40;
/// Where nearly every phone is at its least of 1 frame, the debt must not swallow the pauses that follow.
constexpr double kMaxCarry = 3.0;

void check_finite(const std::vector<float>& values, const char* name) {
  for (float value : values) {
    if (!std::isfinite(value)) {
      throw Error(Status::kFormat,
                  std::string("tower 'voice.encoder': '") + name + "' is not finite; the model is bad");
    }
  }
}

}  // namespace

size_t FramePlan::whole_frames(double exact, size_t least) {
  const double rounded = std::floor(exact + carry_ + 0.5);
  const size_t whole = std::max(least, static_cast<size_t>(std::max(rounded, 0.0)));
  carry_ = std::min(kMaxCarry, std::max(-kMaxCarry, carry_ + exact - static_cast<double>(whole)));
  return whole;
}

/// Frames of a break that starts at `frame`; what is beyond kMaxPause becomes a gap in its middle, exact to the sample.
size_t FramePlan::break_frames(double milliseconds, size_t least, size_t frame) {
  const double samples = milliseconds * kRateHz / 1000;
  if (samples <= static_cast<double>(kMaxPause * kHopSamples)) return whole_frames(samples / kHopSamples, least);
  gaps_.push_back({frame + kMaxPause / 2, std::llround(samples) - static_cast<int64_t>(kMaxPause * kHopSamples)});
  return kMaxPause;
}

void FramePlan::plan(const Utterance& utterance, UnitFeatures features, double speed) {
  features_ = std::move(features);
  check_finite(features_.hidden, "hidden");
  check_finite(features_.log_frames, "log_frames");
  check_finite(features_.pitch, "pitch");
  check_finite(features_.voiced, "voiced");
  check_finite(features_.energy, "energy");
  for (float& voiced : features_.voiced) voiced = 1 / (1 + std::exp(-voiced));
  starts_.assign(1, 0);
  gaps_.clear();
  const size_t units = utterance.units.size();
  size_t next_break = 0;
  for (size_t unit = 0; unit < units; ++unit) {
    const bool first = unit == 0, last = unit + 1 == units;
    const size_t least = first || last || utterance.units[unit] >= kFirstPhone ? 1 : 0;
    size_t whole;
    if ((first && within_sentence_) || (last && utterance.clause)) {
      whole = least;  // the pause of the clause is all that is to be heard
    } else if (next_break < utterance.breaks.size() && utterance.breaks[next_break].unit == unit) {
      whole = break_frames(utterance.breaks[next_break++].milliseconds, least, starts_.back());
    } else {
      const double log_frames = std::min(kMaxLogFrames, static_cast<double>(features_.log_frames[unit]));
      whole = whole_frames(std::exp(log_frames) / speed, least);
    }
    starts_.push_back(starts_.back() + whole);
  }
  within_sentence_ = utterance.clause;
}

int64_t FramePlan::samples_before(size_t frame) const {
  auto samples = static_cast<int64_t>(frame * kHopSamples);
  for (const Gap& gap : gaps_) samples += gap.frame <= frame ? gap.samples : 0;
  return samples;
}

void FramePlan::fill(size_t first, size_t count, float* hidden, float* place, float* prosody) const {
  size_t unit = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), first) - starts_.begin()) - 1;
  for (size_t frame = first; frame < first + count; ++frame) {
    while (starts_[unit + 1] <= frame) ++unit;
    const float* row = features_.hidden.data() + unit * features_.width;
    hidden = std::copy(row, row + features_.width, hidden);
    const auto length = static_cast<float>(starts_[unit + 1] - starts_[unit]);
    const float passed = (static_cast<float>(frame - starts_[unit]) + 0.5f) / length;
    *place++ = passed;
    *place++ = std::log(length);
    *place++ = 1 - passed;
    *prosody++ = features_.pitch[unit];
    *prosody++ = features_.voiced[unit];
    *prosody++ = features_.energy[unit];
  }
}

}  // namespace pocketuni
