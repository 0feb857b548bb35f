// From what the encoder says of units to the rows that the decoder reads: durations in whole frames, pitch, pauses.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "speech/text_frontend.h"

namespace pocketuni {

constexpr double kMinSpeed = 0.25, kMaxSpeed = 4.0;

/// The encoder's results for one utterance of U units, row-major: see docs/voice.md, Towers.
struct UnitFeatures {
  size_t width = 0;                                      ///< of a row of `hidden`
  std::vector<float> hidden;                             ///< [U, width]
  std::vector<float> log_frames, pitch, voiced, energy;  ///< [U]
};

/// Silence that no tower computes, put in front of a frame.
struct Gap {
  size_t frame;
  int64_t samples;
};

/// The frames of one utterance after another.
class FramePlan {
 public:
  /// Durations are divided by `speed`, except those of breaks. What rounding to whole frames loses or wins is carried
  /// to the next unit and the next utterance, so that the speed is exact on average. Phones and the silences at both
  /// ends have at least 1 frame; the silences between clauses of one sentence have just 1. Throws Error(kFormat) when a
  /// feature is not finite.
  void plan(const Utterance& utterance, UnitFeatures features, double speed);

  size_t frames() const { return starts_.empty() ? 0 : starts_.back(); }
  /// The first frame of a unit; frames() for the number of units.
  size_t start_of(size_t unit) const { return starts_[unit]; }
  /// The part of long breaks that is plain silence, in order.
  const std::vector<Gap>& gaps() const { return gaps_; }
  /// Samples from the start of the utterance to a frame, gaps included.
  int64_t samples_before(size_t frame) const;
  /// Writes rows `first` .. `first + count - 1` of the decoder's inputs: hidden [count, width], place and prosody
  /// [count, 3].
  void fill(size_t first, size_t count, float* hidden, float* place, float* prosody) const;

 private:
  size_t whole_frames(double exact, size_t least);
  size_t break_frames(double milliseconds, size_t least, size_t frame);

  UnitFeatures features_;
  std::vector<size_t> starts_;  // [U + 1]
  std::vector<Gap> gaps_;
  double carry_ = 0;              // exact frames minus whole ones so far
  bool within_sentence_ = false;  // the last utterance was a clause whose sentence goes on
};

}  // namespace pocketuni
