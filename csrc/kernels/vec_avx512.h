// 16 floats in one zmm register. The three vec_*.h offer the same functions under the same names; nn_body.h and its
// parts are written over them. Unnamed namespace: each ISA compiles its own copy, and the linker must not merge them.
#pragma once
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 takes its own _mm512_undefined_ps() for a mistake
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

namespace pocketuni {
namespace {

// Rows and vectors of a register tile in attention: 8 x 2 accumulators, 2 loads and a broadcast of 32 registers.
constexpr int kTileRows = 8, kTileVecs = 2, kRowVecs = 4, kPairVecs = 4;  // see vec_avx2.h

struct Vec {
  __m512 v;
};

inline __mmask16 first_lanes(int n) { return static_cast<__mmask16>(n >= 16 ? 0xffffu : n <= 0 ? 0u : (1u << n) - 1u); }

inline Vec set(float x) { return {_mm512_set1_ps(x)}; }
inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Vec x) { _mm512_storeu_ps(p, x.v); }
/// The first n lanes from memory, the others from `fill`; no byte beyond p + n is touched.
inline Vec load_part(const float* p, int n, Vec fill) { return {_mm512_mask_loadu_ps(fill.v, first_lanes(n), p)}; }
inline void store_part(float* p, Vec x, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), x.v); }

inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// max and min: a NaN in `b` comes out; a NaN in `a` may or may not.
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec abs_of(Vec a) { return {_mm512_abs_ps(a.v)}; }
inline Vec sqrt_of(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
inline Vec negated(Vec a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
/// |a| with the sign of b.
inline Vec with_sign(Vec a, Vec b) {
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN), _mm512_castps_si512(b.v),
                                                        _mm512_castps_si512(a.v), 0xca))};
}
inline Vec floor_of(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
inline Vec ceil_of(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)}; }
inline Vec round_even(Vec a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

/// a < b ? x : y; false for NaN.
inline Vec if_less(Vec a, Vec b, Vec x, Vec y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
inline Vec if_nan(Vec a, Vec x, Vec y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), y.v, x.v)};
}
/// The first n lanes of x (n may be outside 0 .. 16), the others of y.
inline Vec first(int n, Vec x, Vec y) { return {_mm512_mask_blend_ps(first_lanes(n), y.v, x.v)}; }

/// 2^n for the integers n = biased - 2^23 * 1.5 - 127, where `biased` came out of an addition at that magnitude;
/// n = -127 gives 0.
inline Vec power_of_two(Vec biased) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(biased.v), 23))};
}

/// The upper half is folded onto the lower four times: the order is the same on every ISA.
inline float sum(Vec x) {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}
inline float largest(Vec x) {
  const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_shuffle_ps(c, c, 1)));
}

/// Four floats from each of four places, one place per 128-bit lane.
inline Vec load_quads(const float* p0, const float* p1, const float* p2, const float* p3) {
  __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(p0));
  x = _mm512_insertf32x4(x, _mm_loadu_ps(p1), 1);
  x = _mm512_insertf32x4(x, _mm_loadu_ps(p2), 2);
  return {_mm512_insertf32x4(x, _mm_loadu_ps(p3), 3)};
}
/// Transposes the 4 x 4 matrix that lane i of the four vectors makes, for each 128-bit lane.
inline void transpose_quads(Vec* x) {
  const __m512 a = _mm512_unpacklo_ps(x[0].v, x[1].v), b = _mm512_unpackhi_ps(x[0].v, x[1].v);
  const __m512 c = _mm512_unpacklo_ps(x[2].v, x[3].v), d = _mm512_unpackhi_ps(x[2].v, x[3].v);
  x[0].v = _mm512_shuffle_ps(a, c, 0x44), x[1].v = _mm512_shuffle_ps(a, c, 0xee);
  x[2].v = _mm512_shuffle_ps(b, d, 0x44), x[3].v = _mm512_shuffle_ps(b, d, 0xee);
}

/// 16 integers.
struct Ints {
  __m512i v;
};
inline Ints repeat(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Ints load_ints(const void* p) { return {_mm512_loadu_si512(p)}; }
inline void store_ints(void* p, Ints x) { _mm512_storeu_si512(p, x.v); }
inline Ints operator-(Ints x, Ints y) { return {_mm512_sub_epi32(x.v, y.v)}; }
inline Ints operator&(Ints x, Ints y) { return {_mm512_and_si512(x.v, y.v)}; }
inline Ints operator|(Ints x, Ints y) { return {_mm512_or_si512(x.v, y.v)}; }
inline Ints operator^(Ints x, Ints y) { return {_mm512_xor_si512(x.v, y.v)}; }
/// The larger, both without a sign.
inline Ints larger(Ints x, Ints y) { return {_mm512_max_epu32(x.v, y.v)}; }
/// By 0 to 32 bits; zeros come in.
inline Ints shift_down(Ints x, int bits) { return {_mm512_srl_epi32(x.v, _mm_cvtsi32_si128(bits))}; }
inline Ints shift_up(Ints x, int bits) { return {_mm512_sll_epi32(x.v, _mm_cvtsi32_si128(bits))}; }
inline Ints bits_of(Vec x) { return {_mm512_castps_si512(x.v)}; }
inline Vec floats_of(Ints bits) { return {_mm512_castsi512_ps(bits.v)}; }
inline Vec to_floats(Ints x) { return {_mm512_cvtepi32_ps(x.v)}; }

inline Vec from_i8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
inline Vec from_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}

}  // namespace
}  // namespace pocketuni
