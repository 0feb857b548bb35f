// How high a recorded voice is: F0 of frames, and its median over those that are loud.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "speech/resample.h"

namespace pocketuni {

struct PitchFrame {
  float hz;        ///< 0 where nothing is periodic
  float power_db;  ///< of the band that is looked at, against full scale
};

/// F0 of samples at kRateHz, of every second mel frame: entry i is of frame 2 i. The lag with the largest normalized
/// cross-correlation (Talkin 1995) of 46 ms, at a quarter of the rate. The tower voice.pitch cannot do this: it is
/// trained for mels of voices that the model makes, and errs by octaves on strangers. Entries do not depend on how the
/// samples are cut into pieces. Not thread-safe.
class PitchFrames {
 public:
  PitchFrames();
  void push(const float* samples, size_t count, std::vector<PitchFrame>* frames);

 private:
  PitchFrame measure(const float* samples);

  Resampler quarter_;
  std::vector<float> held_, frame_;
};

/// The median of F0 over frames of speech, in constant memory.
class PitchMedian {
 public:
  PitchMedian();
  void add(const PitchFrame& frame);
  /// The natural logarithm of the median in Hz, to half a percent, over voiced frames at most 20 dB below the loud
  /// ones; 0 when there are fewer than kLeastFrames of them. Faint frames are left out because echoes and breath
  /// mislead.
  double log_f0() const;

 private:
  std::vector<uint32_t> counts_;  // [level][pitch]
};

}  // namespace pocketuni
