// Convolutions with int8 weights on AVX-512 with VNNI.
#if defined(__x86_64__)
#include "finish_avx512vnni.h"
#include "gemm.h"

namespace pocketuni {
namespace {

// Two accumulators a product: a tap's integer sum, and the float sum of taps, each with the scale of its own row. 4 x 2
// of both leave room for the places of the rows; with 6 x 2 GCC 12 spills accumulators in the innermost loop.
struct Int8Conv {
  static constexpr int kRows = 4, kPanels = 2, kGemvPanels = 4, kRowsOfOne = 8;
  const QuantizedRows* x;
  const ConvWindow* window;
  int channels;
  const uint8_t* tiles;
  const float* scales;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    const ptrdiff_t quads = channels / 4, panel_size = quads * window->all_taps() * 64;
    const uint8_t* w = tiles + panel * panel_size;
    __m512 acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_setzero_ps();
    const bool inside = window->has(row, R) && x->q_stride == kGroup;  // and one sum a row of x
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      if (base < 0) {
        w += window->taps * quads * 64;
        continue;
      }
      for (int tap = 0; tap < window->taps; ++tap, w += quads * 64) {
        const int8_t* a[R];
        float row_scale[R];
        __m512i dots[R][P];
        if (inside) {
          const ptrdiff_t first = base + window->at(row, tap);
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const ptrdiff_t at = first + r * window->stride;
            a[r] = x->q + at * kGroup;
            row_scale[r] = x->scale[at];
            dots[r][0] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(_mm512_set1_epi32(x->sum[at]), 7));
          }
        } else {
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const ptrdiff_t at = window->row(base, row + r, tap);
            a[r] = at >= 0 ? x->q + at * x->q_stride : static_cast<const int8_t*>(window->zeros);
            row_scale[r] = at >= 0 ? x->scale[at] : 0.0f;
            dots[r][0] = _mm512_set1_epi32(at >= 0 ? -128 * row_sum(*x, at, channels) : 0);
          }
        }
        PU_UNROLL
        for (int i = 0; i < R * P; ++i) dots[i / P][i % P] = dots[i / P][0];
        for (ptrdiff_t i = 0; i < quads; ++i) {
          __m512i weights[P];
          PU_UNROLL
          for (int p = 0; p < P; ++p) weights[p] = _mm512_loadu_si512(w + p * panel_size + i * 64);
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const __m512i value = broadcast_quad(a[r] + i * 4);
            PU_UNROLL
            for (int p = 0; p < P; ++p) add_dot(dots[r][p], weights[p], value);
          }
        }
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          const __m512 scale = _mm512_set1_ps(row_scale[r]);
          PU_UNROLL
          for (int p = 0; p < P; ++p) acc[r][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[r][p]), scale, acc[r][p]);
        }
      }
    }
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) {
      acc[i / P][i % P] = _mm512_mul_ps(acc[i / P][i % P], _mm512_loadu_ps(scales + (panel + i % P) * kPanel));
    }
    pass_tile(out, acc, row, panel, cols);
  }
};

void conv_i8(const QuantizedRows* x, const ConvWindow* window, int rows, int channels, const uint8_t* tiles,
             const float* scales, int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const Int8Conv op{x, window, channels, tiles, scales, {e, y, y_stride, act_row_avx512}};
  if (n <= kPanel && rows > 1) return panel_group<Int8Conv, Int8Conv::kRowsOfOne, 1>(op, rows, 0, n);
  for_each_tile(op, rows, n);
}

}  // namespace

void fill_conv_avx512vnni(Kernels* kernels) { kernels->conv_i8 = conv_i8; }

}  // namespace pocketuni
#endif
