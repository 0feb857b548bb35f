// Changes the rate of samples by any ratio of whole numbers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pocketuni {

/// A low-pass filter of 48 zero crossings (sinc, Kaiser window, stop band below -90 dB, pass band up to 0.93 of the
/// lower Nyquist frequency) with a table of coefficients for each of the phases that occur. Result n lies at n * from /
/// to samples of the input; N samples give ceil(N to / from); outside there is silence. Results do not depend on how
/// the samples are cut into pieces. Not thread-safe.
class Resampler {
 public:
  /// Rates in Hz, positive. Throws Error(kInvalidArgument) for ratios that need more than 2^24 coefficients.
  Resampler(int64_t from_hz, int64_t to_hz);

  /// Appends to `out` what these samples, with those before, determine.
  void push(const float* samples, size_t count, std::vector<float>* out);
  /// Appends the rest, and is ready for another sequence.
  void finish(std::vector<float>* out);

 private:
  void start();
  void produce(int64_t end, std::vector<float>* out);

  int64_t up_, down_;                // lowest terms
  int64_t half_;                     // taps on each side, a multiple of 4
  std::vector<float> coefficients_;  // [phase][2 half]
  std::vector<float> held_;          // samples from first_ on
  int64_t first_ = 0, next_ = 0;     // place of held_[0]; index of the next result
};

/// All samples at once.
std::vector<float> resample(const float* samples, size_t count, int64_t from_hz, int64_t to_hz);

}  // namespace pocketuni
