// Fourier transforms of small, power-of-two sizes, on the fastest kernels there are: all give the same bits.
#pragma once
#include <cstddef>
#include <vector>

#include "kernels/fft_tables.h"

namespace pocketuni {

/// Complex transforms of one size. Uses scratch of its own: one caller at a time.
class Fft {
 public:
  /// `size`: a power of two, 4 to 2^16.
  explicit Fft(size_t size);

  /// Sum over n of x[n] exp(-2 pi i k n / size), in place of the real and imaginary parts.
  void forward(float* re, float* im);

 private:
  FftTables tables_;
  std::vector<float> scratch_;
};

/// The real signal whose spectrum is given. Uses scratch of its own: one caller at a time.
class RealInverse {
 public:
  /// `size`: samples of the signal, a power of two, 8 to 2^17.
  explicit RealInverse(size_t size);

  /// `re`, `im`: size / 2 + 1 bins; the imaginary parts of the first and the last one are taken as 0. Writes `size`
  /// samples, scaled by 1 / size.
  void run(const float* re, const float* im, float* samples);

 private:
  FftTables tables_;
  std::vector<float> scratch_;
};

}  // namespace pocketuni
