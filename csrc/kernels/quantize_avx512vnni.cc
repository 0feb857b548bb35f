// Rounding of rows to int8 on AVX-512.
#if defined(__x86_64__)
#include <cmath>
#include <cstring>

#include "dot_avx512vnni.h"
#include "gemm.h"
#include "gemm_tile.h"
#include "vec_avx512.h"

namespace pocketuni {
namespace {

constexpr int kMostTogether = 128;  // numbers of a row, of which 16 rows are read twice from L1

inline float row_max(const float* x, int k) {
  __m512i even = _mm512_setzero_si512(), odd = even;
  int i = 0;
  for (; i + 32 <= k; i += 32) {
    even = max_abs_bits(even, _mm512_loadu_ps(x + i));
    odd = max_abs_bits(odd, _mm512_loadu_ps(x + i + 16));
  }
  for (; i < k; i += 16) even = max_abs_bits(even, _mm512_maskz_loadu_ps(first_lanes(k - i), x + i));
  const uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(even, odd));
  float max;
  std::memcpy(&max, &bits, sizeof max);
  return max;
}

// 32 quantized values as bytes, in order.
inline __m256i quantize_group(__m512 x0, __m512 x1, __m512 inverse) {
  const __m128i q0 = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x0, inverse)));
  const __m128i q1 = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x1, inverse)));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(q0), q1, 1);
}

inline int32_t group_sum(__m256i q) {
  const __m256i biased = _mm256_xor_si256(q, _mm256_set1_epi8(-128));  // + 128 each, as psadbw is unsigned
  const __m256i sums = _mm256_sad_epu8(biased, _mm256_setzero_si256());
  const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_unpackhi_epi64(half, half))) - 128 * kGroup;
}

// 64 quantized values as bytes, in order.
inline __m512i quantize_64(const float* x, __m512 inverse) {
  __m512i part[4];
  PU_UNROLL
  for (int i = 0; i < 4; ++i) part[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), inverse));
  const __m512i low = _mm512_packs_epi32(part[0], part[1]), high = _mm512_packs_epi32(part[2], part[3]);
  const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(in_order, _mm512_packs_epi16(low, high));
}

// Sums of the two halves of a, then of b.
inline __m128i half_sums(__m512i a, __m512i b) {
  const __m512i ones = _mm512_set1_epi8(1), none = _mm512_setzero_si512();
  const __m512i x = _mm512_dpbusd_epi32(none, ones, a), y = _mm512_dpbusd_epi32(none, ones, b);
  __m512i s = _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));  // x, y, x, y a lane
  s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, _MM_PERM_BADC));
  s = _mm512_add_epi32(s, _mm512_shuffle_i32x4(s, s, 0xb1));
  return _mm_unpacklo_epi32(_mm512_castsi512_si128(s), _mm512_extracti32x4_epi32(s, 2));
}

void quantize_row(const float* x, int k, int8_t* q, ptrdiff_t q_stride, float* scale, int32_t* sum) {
  const float max = row_max(x, k);
  if (!(max <= 3.402823466e38f) || is_zero_row(max)) {
    *scale = max < 1.0f ? 0.0f : NAN;
    std::memset(q, 0, static_cast<size_t>(q_stride));
    std::memset(sum, 0, static_cast<size_t>(q_stride / kGroup) * sizeof *sum);
    return;
  }
  *scale = max / 127.0f;
  const __m512 inverse = _mm512_set1_ps(127.0f / max);
  int i = 0;
  for (; i + 128 <= k; i += 128) {
    const __m512i low = quantize_64(x + i, inverse), high = quantize_64(x + i + 64, inverse);
    _mm512_storeu_si512(q + i, low);
    _mm512_storeu_si512(q + i + 64, high);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sum + i / kGroup), half_sums(low, high));
  }
  for (; i + 32 <= k; i += 32) {
    const __m256i group = quantize_group(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16), inverse);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), group);
    sum[i / kGroup] = group_sum(group);
  }
  for (; i < q_stride; i += 32) {
    const int left = i < k ? k - i : 0, second = left > 16 ? left - 16 : 0;
    const __m512 x0 = _mm512_maskz_loadu_ps(first_lanes(left), x + (left > 0 ? i : 0));
    const __m512 x1 = _mm512_maskz_loadu_ps(first_lanes(second), x + (second > 0 ? i + 16 : 0));
    const __m256i group = quantize_group(x0, x1, inverse);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), group);
    sum[i / kGroup] = group_sum(group);
  }
}

// A group of 32 numbers of 16 rows, from number `first` on; kHalf: no more than 16 of them are left.
template <bool kHalf>
inline void quantize_groups(const float* x, ptrdiff_t x_stride, int left, const float* inverse, int8_t* q,
                            ptrdiff_t q_stride, int32_t* sum, ptrdiff_t sum_stride) {
  const __mmask16 low = first_lanes(left), high = first_lanes(left - 16);
  __m512i totals[16];
  PU_UNROLL
  for (int r = 0; r < 16; ++r) {
    const __m512 by = _mm512_set1_ps(inverse[r]);
    totals[r] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(low, x + r * x_stride), by));
    __m256i bytes = _mm256_zextsi128_si256(_mm512_cvtepi32_epi8(totals[r]));
    if constexpr (!kHalf) {
      const __m512i more = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(high, x + r * x_stride + 16), by));
      bytes = _mm256_inserti128_si256(bytes, _mm512_cvtepi32_epi8(more), 1);
      totals[r] = _mm512_add_epi32(totals[r], more);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + r * q_stride), bytes);
  }
  const __m512i sums = fold_lanes(totals, [](__m512i a, __m512i b) { return _mm512_add_epi32(a, b); });
  if (sum_stride == 1) {
    _mm512_storeu_si512(sum, sums);
  } else {
    int32_t each[16];
    _mm512_storeu_si512(each, sums);
    for (int r = 0; r < 16; ++r) sum[r * sum_stride] = each[r];
  }
}

// 16 rows side by side: the largest number of each, their scales and their sums are each found in one vector.
void quantize_16(const float* x, ptrdiff_t x_stride, int k, int8_t* q, ptrdiff_t q_stride, float* scale, int32_t* sum) {
  __m512i most[16];
  PU_UNROLL
  for (int r = 0; r < 16; ++r) most[r] = _mm512_setzero_si512();
  for (int i = 0; i < k; i += 16) {
    const __mmask16 mask = first_lanes(k - i);
    PU_UNROLL
    for (int r = 0; r < 16; ++r) most[r] = max_abs_bits(most[r], _mm512_maskz_loadu_ps(mask, x + r * x_stride + i));
  }
  const __m512i bits = fold_max(most);
  const __m512 max = _mm512_castsi512_ps(bits);
  const __mmask16 usual = _mm512_cmp_ps_mask(max, _mm512_set1_ps(3.402823466e38f), _CMP_LE_OQ) &
                          _mm512_cmp_ps_mask(max, _mm512_set1_ps(kSmallestMax), _CMP_GE_OQ);
  if (usual != 0xffff) {  // rows of zeros, or with NaN or infinity
    for (int r = 0; r < 16; ++r) {
      quantize_row(x + r * x_stride, k, q + r * q_stride, q_stride, scale + r, sum + r * (q_stride / kGroup));
    }
    return;
  }
  float inverse[16];
  _mm512_storeu_ps(scale, _mm512_div_ps(max, _mm512_set1_ps(127.0f)));
  _mm512_storeu_ps(inverse, _mm512_div_ps(_mm512_set1_ps(127.0f), max));
  for (int i = 0; i < k; i += kGroup) {
    const auto part = k - i <= 16 ? quantize_groups<true> : quantize_groups<false>;
    part(x + i, x_stride, k - i, inverse, q + i, q_stride, sum + i / kGroup, q_stride / kGroup);
  }
}

void quantize_rows(const float* x, ptrdiff_t x_stride, int rows, int k, int8_t* q, ptrdiff_t q_stride, float* scale,
                   int32_t* sum) {
  int r = 0;
  if (k <= kMostTogether && q_stride - k < kGroup) {
    for (; r + 16 <= rows; r += 16) {
      quantize_16(x + r * x_stride, x_stride, k, q + r * q_stride, q_stride, scale + r, sum + r * (q_stride / kGroup));
    }
  }
  for (; r < rows; ++r) {
    quantize_row(x + r * x_stride, k, q + r * q_stride, q_stride, scale + r, sum + r * (q_stride / kGroup));
  }
}

}  // namespace

void fill_quantize_avx512vnni(Kernels* kernels) { kernels->quantize_rows = quantize_rows; }

}  // namespace pocketuni
#endif
