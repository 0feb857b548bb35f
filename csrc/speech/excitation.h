// What the vocoder filters: pulses that follow F0, and noise. docs/voice.md has the formulas; tools/distill/source.py
// is the reference.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pocketuni {

/// Band-limited pulse train of unit power whose phase integrates F0. Frames are appended as they become known; samples
/// may be read in any order and any number of times, so chunks equal the whole. Not thread-safe.
class PulseTrain {
 public:
  /// Appends frames; `log_f0` holds natural logarithms of Hz, and values outside 10 .. 2,000 Hz are moved there.
  void append(const float* log_f0, size_t frames);
  /// No frame will follow: the last one's slope goes on to the end.
  void finish() { finished_ = true; }
  size_t frames() const { return phase_.size(); }
  /// How many samples from the start are settled: up to the middle of the last frame, and after `finish` all 256 of it.
  int64_t samples() const;
  /// Samples `first .. first + count - 1`; those before 0 and from `samples()` on are 0.
  void read(int64_t first, size_t count, float* out) const;

 private:
  std::vector<double> phase_;  // of each frame's middle, in radians
  double last_hz_ = 0.0;
  bool finished_ = false;
};

/// Uniform noise of unit power: a hash of the sample's index, counted from the start of the utterance, plus `seed`.
/// Samples before 0 and from `end` on are 0.
void hashed_noise(int64_t first, size_t count, int64_t end, float* out, uint32_t seed = 0);

}  // namespace pocketuni
