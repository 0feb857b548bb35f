// One utterance on its way to samples.
#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "speech/prosody.h"
#include "speech/text_frontend.h"
#include "speech/voice_chain.h"

namespace pocketuni {

struct SpokenWord {
  std::string text;     ///< as it is spoken
  uint64_t begin, end;  ///< bytes of the text, counted from the first push
  int64_t start, stop;  ///< samples of the speech, counted from the first chunk
};

/// Speaks one utterance after another, each ahead of when it is heard if its owner likes. What goes wrong is kept and
/// thrown where its samples would be missing. Several work beside each other, each on one thread at a time.
class SpokenUtterance {
 public:
  explicit SpokenUtterance(std::unique_ptr<VoiceChain> chain) : chain_(std::move(chain)) {}

  VoiceChain* chain() { return chain_.get(); }
  /// Begins with a plan of frames, see VoiceChain::start. Words are counted from the first sample of the utterance.
  void start(const Utterance& utterance, const FramePlan& plan, const std::vector<float>& speaker, uint32_t seed,
             double log_shift);
  /// Begins with nothing but this failure.
  void start_failed(std::exception_ptr failure);
  /// Makes samples until `wanted` wait to be taken, or up to a frame more, or the utterance ends.
  void speak(size_t wanted) noexcept;
  /// Makes samples for some milliseconds; false when there is nothing left to do, or `most` samples wait.
  bool speak_ahead(size_t most) noexcept;
  /// What is left to do is worth a thread.
  bool has_work() const { return !failure_ && chain_->unseen() > 0; }
  /// Samples that wait.
  size_t ready() const { return samples_.size() - taken_; }
  /// All samples have been made and taken, and nothing went wrong.
  bool finished() const { return ready() == 0 && !failure_ && frame_ == plan_.frames() && gap_left_ == 0; }
  /// Appends `most` samples, or as many as wait. Throws what went wrong when none do.
  void take(size_t most, std::vector<float>* samples);

  bool paragraph_start = false;
  std::vector<SpokenWord> words;

 private:
  void reset();
  void speak_frames(size_t wanted);

  std::unique_ptr<VoiceChain> chain_;
  FramePlan plan_;
  size_t frame_ = 0;            // next to be made
  size_t next_gap_ = 0;         // of plan_.gaps()
  int64_t gap_left_ = 0;        // samples of the gap before frame_
  std::vector<float> samples_;  // of which `taken_` have been taken
  size_t taken_ = 0;
  std::exception_ptr failure_;
};

}  // namespace pocketuni
