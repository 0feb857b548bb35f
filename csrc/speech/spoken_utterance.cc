#include "speech/spoken_utterance.h"

#include <algorithm>
#include <utility>

#include "speech/audio_frames.h"

namespace pocketuni {
namespace {

constexpr size_t kStepFrames = 64;  // fewer cost more for each, more leave the cache

}  // namespace

void SpokenUtterance::start(const Utterance& utterance, const FramePlan& plan, const std::vector<float>& speaker,
                            uint32_t seed, double log_shift) {
  reset();
  plan_ = plan;
  chain_->start(plan_, speaker, seed, log_shift);
  paragraph_start = utterance.paragraph_start;
  for (const Utterance::Word& word : utterance.words) {
    const size_t end = plan_.start_of(word.first_unit + word.units);
    words.push_back({word.text, word.begin, word.end, plan_.samples_before(plan_.start_of(word.first_unit)),
                     plan_.samples_before(end)});
  }
}

void SpokenUtterance::start_failed(std::exception_ptr failure) {
  reset();
  failure_ = std::move(failure);
}

void SpokenUtterance::reset() {
  failure_ = nullptr;
  plan_ = FramePlan();
  words.clear();
  samples_.clear();
  paragraph_start = false;
  frame_ = next_gap_ = taken_ = 0;
  gap_left_ = 0;
}

void SpokenUtterance::speak(size_t wanted) noexcept {
  if (failure_) return;
  try {
    speak_frames(wanted);
  } catch (...) {
    failure_ = std::current_exception();
  }
}

bool SpokenUtterance::speak_ahead(size_t most) noexcept {
  if (!has_work() || ready() >= most) return false;
  speak(ready() + kStepFrames * kHopSamples);
  return true;
}

void SpokenUtterance::speak_frames(size_t wanted) {
  samples_.erase(samples_.begin(), samples_.begin() + static_cast<ptrdiff_t>(taken_));
  taken_ = 0;
  while (samples_.size() < wanted) {
    if (gap_left_ > 0) {
      const int64_t count = std::min(gap_left_, static_cast<int64_t>(wanted - samples_.size()));
      samples_.resize(samples_.size() + static_cast<size_t>(count), 0.0f);
      gap_left_ -= count;
      continue;
    }
    if (frame_ == plan_.frames()) return;
    size_t most = std::min(kStepFrames, (wanted - samples_.size() + kHopSamples - 1) / kHopSamples);
    const bool gap_ahead = next_gap_ < plan_.gaps().size();
    if (gap_ahead) most = std::min(most, plan_.gaps()[next_gap_].frame - frame_);
    frame_ += chain_->pull(most, &samples_);
    if (gap_ahead && frame_ == plan_.gaps()[next_gap_].frame) gap_left_ = plan_.gaps()[next_gap_++].samples;
  }
}

void SpokenUtterance::take(size_t most, std::vector<float>* samples) {
  const size_t count = std::min(most, ready());
  if (count == 0 && failure_) std::rethrow_exception(failure_);
  const auto first = samples_.begin() + static_cast<ptrdiff_t>(taken_);
  samples->insert(samples->end(), first, first + static_cast<ptrdiff_t>(count));
  taken_ += count;
}

}  // namespace pocketuni
