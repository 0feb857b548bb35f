// Fourier transforms of fixed, small, power-of-two sizes.
#pragma once
#include <cstddef>
#include <vector>

namespace pocketuni {

/// Complex transforms of one size. `re` and `im` hold the two parts; results replace them. Immutable after it is made.
class Fft {
 public:
  /// `size`: a power of two, 2 to 2^16.
  explicit Fft(size_t size);

  size_t size() const { return size_; }
  /// Sum over n of x[n] exp(-2 pi i k n / size).
  void forward(float* re, float* im) const;

 private:
  size_t size_;
  std::vector<size_t> reversed_;      // bit-reversed index, of each index
  std::vector<float> cosine_, sine_;  // of 2 pi k / size, k < size / 2
};

/// The real signal whose spectrum is given, by one complex transform of half the size.
class RealInverse {
 public:
  /// `size`: samples of the signal, a power of two from 4 on.
  explicit RealInverse(size_t size);

  /// `re`, `im`: size / 2 + 1 bins; the imaginary parts of the first and the last one are taken as 0. Writes `size`
  /// samples, scaled by 1 / size. Uses scratch of its own: one caller at a time.
  void run(const float* re, const float* im, float* samples);

 private:
  Fft half_;
  std::vector<float> cosine_, sine_;  // of 2 pi k / size, k < size / 2
  std::vector<float> re_, im_;
};

}  // namespace pocketuni
