// The int4 product of AVX-512, for whoever may read ahead. Unnamed namespace: see vec_avx512.h.
#pragma once
#include "finish_avx512vnni.h"

namespace pocketuni {
namespace {

/// One panel wide: a group's 8 unpacked registers serve up to 16 rows, whose float accumulators take 16 more. A single
/// row waits for weights from memory: it asks for those so many bytes ahead, where the CPU does not by itself.
template <int kAhead>
struct Int4Gemm {
  static constexpr int kRows = 16, kPanels = 1, kGemvPanels = 1;
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const uint16_t* scales;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    const ptrdiff_t groups = (k + kGroup - 1) / kGroup, q_stride = x->q_stride, sum_stride = q_stride / kGroup;
    const int8_t* a = x->q + row * q_stride;
    const int32_t* sums = x->sum + row * sum_stride;
    const __m512i mask = _mm512_set1_epi8(15);
    __m512 acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_setzero_ps();
    for (ptrdiff_t g = 0; g < groups; ++g) {
      PU_UNROLL
      for (int p = 0; p < P; ++p) {
        const ptrdiff_t block = (panel + p) * groups + g;
        const uint8_t* w = tiles + block * 256;
        if constexpr (R == 1 && kAhead > 0) {
          PU_UNROLL
          for (int v = 0; v < 4; ++v) _mm_prefetch(w + kAhead + v * 64, _MM_HINT_T1);
          _mm_prefetch(scales + block * kPanel + kAhead / kGroup, _MM_HINT_T1);  // two bytes to 16 of weights
        }
        __m512i low[4], high[4];
        PU_UNROLL
        for (int v = 0; v < 4; ++v) {
          const __m512i bytes = _mm512_loadu_si512(w + v * 64);
          low[v] = _mm512_and_si512(bytes, mask);
          high[v] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
        }
        const __m512 scale =
            _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales + block * kPanel)));
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          const int8_t* values = a + r * q_stride + g * kGroup;
          // One chain: the rows and groups beside it hide its latency, and a second one would cost an addition.
          __m512i sum = _mm512_set1_epi32(-8 * sums[r * sum_stride + g]);
          PU_UNROLL
          for (int v = 0; v < 4; ++v) {
            add_dot(sum, low[v], broadcast_quad(values + v * 4));
            add_dot(sum, high[v], broadcast_quad(values + 16 + v * 4));
          }
          acc[r][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, acc[r][p]);
        }
      }
    }
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) {
      acc[i / P][i % P] = _mm512_mul_ps(acc[i / P][i % P], _mm512_set1_ps(x->scale[row + i / P]));
    }
    pass_tile(out, acc, row, panel, cols);
  }
};

}  // namespace
}  // namespace pocketuni
