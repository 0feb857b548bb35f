// A product of two rows of floats whose order of additions is fixed.
#pragma once
#include <cstdint>

namespace pocketuni {

/// The sum of `count` products, a multiple of 8, in eight lanes: the same bits wherever it is used.
inline float dot_lanes(const float* a, const float* b, int64_t count) {
  float sums[8] = {};
  for (int64_t i = 0; i < count; i += 8) {
    for (int64_t lane = 0; lane < 8; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace pocketuni
