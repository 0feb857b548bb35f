// A product of two rows of floats whose order of additions is fixed.
#pragma once
#include <cstdint>

namespace pocketuni {

/// The sum of `count` products, a multiple of 8, in eight lanes: the same bits wherever it is used.
inline float dot_lanes(const float* a, const float* b, int64_t count) {
  typedef float Lanes __attribute__((vector_size(16), aligned(4), may_alias));
  Lanes low = {}, high = {};
  for (const float* end = a + count; a != end; a += 8, b += 8) {
    const Lanes *left = reinterpret_cast<const Lanes*>(a), *right = reinterpret_cast<const Lanes*>(b);
    low += left[0] * right[0];
    high += left[1] * right[1];
  }
  const Lanes sums = low + high;
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

}  // namespace pocketuni
