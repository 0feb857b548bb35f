// What the int8 kernels for AVX-512 are made of: the product, and reductions of 16 rows at once. Unnamed namespace: see
// vec_avx512.h.
#pragma once
#include "gemm_tile.h"
#include "vec_avx512.h"

namespace pocketuni {
namespace {

// acc += four u8 x s8 products a lane. In assembly, because GCC 12 gives each accumulator a second copy for the value
// after the loop, runs out of registers and spills most of a 6 x 4 tile (measured: 55 % of the peak instead of 90 %).
inline void add_dot(__m512i& acc, __m512i weights, __m512i x) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(weights), "v"(x));
}

/// Four bytes in every lane.
inline __m512i broadcast_quad(const void* q) {
  int value;
  __builtin_memcpy(&value, q, sizeof value);
  return _mm512_set1_epi32(value);
}

/// The larger of `max` and of |x| as integers, which sort as floats do and keep NaN.
inline __m512i max_abs_bits(__m512i max, __m512 x) {
  return _mm512_max_epu32(max, _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}

/// Lanes of 16 vectors -> one vector: lane i is what `f` makes of all lanes of x[i]. Each step halves their number.
template <class F>
inline __m512i fold_lanes(__m512i (&x)[16], F f) {
  const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
  PU_UNROLL
  for (int i = 0; i < 8; ++i) {  // x[i] in the lower half, x[i + 8] in the upper
    const __m512i a = _mm512_permutex2var_epi32(x[i], low, x[i + 8]);
    x[i] = f(a, _mm512_shuffle_i64x2(x[i], x[i + 8], 0xee));
  }
  PU_UNROLL
  for (int i = 0; i < 4; ++i) {  // quarters: x[i], x[i + 4], x[i + 8], x[i + 12]
    const __m512i a = _mm512_shuffle_i64x2(x[i], x[i + 4], 0x88), b = _mm512_shuffle_i64x2(x[i], x[i + 4], 0xdd);
    x[i] = f(a, b);  // quarters of i, i + 8, i + 4, i + 12
  }
  PU_UNROLL
  for (int i = 0; i < 2; ++i) x[i] = f(_mm512_unpacklo_epi32(x[i], x[i + 2]), _mm512_unpackhi_epi32(x[i], x[i + 2]));
  const __m512i y = f(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
  // Quarter by quarter: rows 0, 1, 2, 3 of it; then 8 .. 11, 4 .. 7, 12 .. 15.
  return _mm512_shuffle_i64x2(y, y, 0xd8);
}

/// Lane i is the largest lane of x[i], as unsigned integers.
inline __m512i fold_max(__m512i (&x)[16]) {
  return fold_lanes(x, [](__m512i a, __m512i b) { return _mm512_max_epu32(a, b); });
}

}  // namespace
}  // namespace pocketuni
