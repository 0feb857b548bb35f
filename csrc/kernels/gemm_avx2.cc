// AVX2 + FMA + F16C.
#if defined(__x86_64__)
#include "gemm_avx2.h"
// It is written over what stands above it.
#include "gemm_body.h"

#include <cmath>

namespace pocketuni {
namespace {

// vpmaddubsw adds two u8 x s8 products in s16 and saturates at 32767. Here it never does: the biased weights are made
// signed again, their magnitude (at most 128) is the unsigned operand, their sign goes to the activations (at most
// 127), and 2 x 128 x 127 = 32512. With the weights unsigned, 2 x 255 x 127 would saturate.
struct MaddDot {
  static constexpr int kRows = 8, kHalves = 1, kGemvPanels = 2;  // 8 accumulators beside what a product passes through
  static constexpr bool kBiased = false;

  struct Weights {
    __m256i value, magnitude;
  };
  static Weights load(const uint8_t* w) {
    const __m256i value = _mm256_xor_si256(load256(w), _mm256_set1_epi8(-128));
    return {value, _mm256_abs_epi8(value)};
  }
  // In assembly for the reason given in gemm_avx512vnni.cc: with intrinsics GCC spills the accumulators.
  static __m256i add(__m256i acc, Weights w, __m256i x) {
    __asm__(
        "vpsignb %[value], %[x], %[x]\n\t"
        "vpmaddubsw %[x], %[magnitude], %[x]\n\t"
        "vpmaddwd %[ones], %[x], %[x]\n\t"
        "vpaddd %[x], %[acc], %[acc]"
        : [acc] "+x"(acc), [x] "+x"(x)
        : [value] "x"(w.value), [magnitude] "x"(w.magnitude), [ones] "x"(_mm256_set1_epi16(1)));
    return acc;
  }

  // A whole group adds up in s16: 8 steps x 2 x 15 x 127 = 30480.
  static __m256i nibbles_start(int32_t) { return _mm256_setzero_si256(); }
  static __m256i nibbles_add(__m256i acc, __m256i w, __m256i x) {
    return _mm256_add_epi16(acc, _mm256_maddubs_epi16(w, x));
  }
  static __m256i nibbles_end(__m256i acc, int32_t correction) {
    return _mm256_add_epi32(_mm256_madd_epi16(acc, _mm256_set1_epi16(1)), _mm256_set1_epi32(correction));
  }
};

struct DepthwiseDot {
  static constexpr int kRows = 4, kBias = 0;
  struct Weights {
    MaddDot::Weights a, b;
  };
  static MaddDot::Weights load_half(const uint8_t* w) { return {load256(w), _mm256_abs_epi8(load256(w))}; }
  static Weights load(const uint8_t* w) { return {load_half(w), load_half(w + 32)}; }
  static void add(Ints& acc, Ints x, const Weights& w) {
    acc = {MaddDot::add(acc.a, w.a, x.a), MaddDot::add(acc.b, w.b, x.b)};
  }
};

inline __m256i abs_bits(__m256 x) { return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)); }

inline float row_max(const float* x, int k) {
  __m256i even = _mm256_setzero_si256(), odd = even;
  int i = 0;
  for (; i + 16 <= k; i += 16) {
    even = _mm256_max_epi32(even, abs_bits(_mm256_loadu_ps(x + i)));
    odd = _mm256_max_epi32(odd, abs_bits(_mm256_loadu_ps(x + i + 8)));
  }
  alignas(32) int32_t lane[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lane), _mm256_max_epi32(even, odd));
  int32_t bits = 0;
  for (int j = 0; j < 8; ++j) bits = lane[j] > bits ? lane[j] : bits;
  for (; i < k; ++i) {
    int32_t b;
    std::memcpy(&b, x + i, sizeof b);
    b &= 0x7fffffff;
    bits = b > bits ? b : bits;
  }
  float max;
  std::memcpy(&max, &bits, sizeof max);
  return max;
}

// Four times 8 values, multiplied, to bytes, and their sum.
inline int32_t quantize_group(const __m256 (&x)[4], __m256 inverse, int8_t* q) {
  const auto convert = [&](int i) { return _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse)); };
  const __m256i low = _mm256_packs_epi32(convert(0), convert(1)), high = _mm256_packs_epi32(convert(2), convert(3));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packs work within 128-bit halves
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
  const __m256i biased = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));  // + 128 each, as psadbw is unsigned
  const __m256i sums = _mm256_sad_epu8(biased, _mm256_setzero_si256());
  const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_unpackhi_epi64(half, half))) - 128 * kGroup;
}
inline int32_t quantize_group(const float* x, __m256 inverse, int8_t* q) {
  const __m256 values[4] = {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8), _mm256_loadu_ps(x + 16),
                            _mm256_loadu_ps(x + 24)};
  return quantize_group(values, inverse, q);
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
  const __m256 inverse = _mm256_set1_ps(127.0f / max);
  int i = 0;
  for (; i + kGroup <= k; i += kGroup) sum[i / kGroup] = quantize_group(x + i, inverse, q + i);
  for (; i < q_stride; i += kGroup) {
    float tail[kGroup] = {};
    if (i < k) std::memcpy(tail, x + i, static_cast<size_t>(k - i) * sizeof *x);
    sum[i / kGroup] = quantize_group(tail, inverse, q + i);
  }
}

// Rows of one group, k in (8 (V - 1), 8 V]: all of a row stays in registers.
template <int V>
void quantize_short_rows(const float* x, ptrdiff_t x_stride, int rows, int k, int8_t* q, float* scale, int32_t* sum) {
  const __m256i mask = first_lanes(k - 8 * (V - 1)).a;  // of the last vector; the others are whole
  for (int r = 0; r < rows; ++r, x += x_stride, q += kGroup) {
    __m256 values[4];
    PU_UNROLL
    for (int v = 0; v < 4; ++v) values[v] = v < V - 1 ? _mm256_loadu_ps(x + v * 8) : _mm256_setzero_ps();
    values[V - 1] = k == 8 * V ? _mm256_loadu_ps(x + (V - 1) * 8) : _mm256_maskload_ps(x + (V - 1) * 8, mask);
    __m256i bits = abs_bits(values[0]);
    PU_UNROLL
    for (int v = 1; v < V; ++v) bits = _mm256_max_epi32(bits, abs_bits(values[v]));
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    half = _mm_max_epi32(half, _mm_unpackhi_epi64(half, half));
    const float max = _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(half, _mm_shuffle_epi32(half, 1))));
    if (!(max <= 3.402823466e38f) || is_zero_row(max)) {
      quantize_row(x, k, q, kGroup, scale + r, sum + r);
    } else {
      scale[r] = max / 127.0f;
      sum[r] = quantize_group(values, _mm256_set1_ps(127.0f / max), q);
    }
  }
}

void quantize_rows(const float* x, ptrdiff_t x_stride, int rows, int k, int8_t* q, ptrdiff_t q_stride, float* scale,
                   int32_t* sum) {
  if (q_stride == kGroup) {
    if (k > 24) return quantize_short_rows<4>(x, x_stride, rows, k, q, scale, sum);
    if (k > 16) return quantize_short_rows<3>(x, x_stride, rows, k, q, scale, sum);
    if (k > 8) return quantize_short_rows<2>(x, x_stride, rows, k, q, scale, sum);
    if (k > 0) return quantize_short_rows<1>(x, x_stride, rows, k, q, scale, sum);
  }
  for (int r = 0; r < rows; ++r) {
    quantize_row(x + r * x_stride, k, q + r * q_stride, q_stride, scale + r, sum + r * (q_stride / kGroup));
  }
}

}  // namespace

void fill_gemm_avx2(Kernels* kernels) {
  kernels->quantize_rows = quantize_rows;
  fill_float_gemm(kernels);
  kernels->gemm_i8 = gemm_i8<MaddDot>;
  kernels->gemm_i4 = gemm_i4<MaddDot>;
  kernels->conv_i8 = conv_i8<MaddDot>;
  kernels->depthwise_scales = depthwise_scales;
  fill_depthwise_i8<DepthwiseDot>(kernels);
}

}  // namespace pocketuni
#endif
