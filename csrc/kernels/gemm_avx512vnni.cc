// AVX-512 with VNNI. A panel is one register of outputs; tiles of 6 rows x 4 panels keep 24 accumulators, 4 weights and
// a broadcast in the 32 registers and need 10 loads for 24 products (two of each a cycle).
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC bug 105593: its own _mm512_undefined_ps, up to GCC 12
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstring>

#include "dot_avx512vnni.h"
#include "gemm.h"
#include "gemm_tile.h"
#include "nn.h"

namespace pocketuni {
namespace {

inline __mmask16 lanes(int count) { return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1u); }

inline int32_t load_quad(const int8_t* q) {
  int32_t value;
  std::memcpy(&value, q, sizeof value);
  return value;
}

template <int R, int P>
inline void finish_registers(const Output& out, __m512 (&acc)[R][P], int row, int panel, int cols) {
  const Epilogue& e = *out.epilogue;
  const int column = panel * kPanel;
  alignas(64) float buffer[R * P * kPanel];
  PU_UNROLL
  for (int p = 0; p < P; ++p) {
    const __mmask16 mask = lanes(cols - p * kPanel);
    if (e.bias != nullptr) {
      const __m512 bias = _mm512_maskz_loadu_ps(mask, e.bias + column + p * kPanel);
      PU_UNROLL
      for (int r = 0; r < R; ++r) acc[r][p] = _mm512_add_ps(acc[r][p], bias);
    }
  }
  if (!out.plain()) {
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) _mm512_store_ps(buffer + i * kPanel, acc[i / P][i % P]);
    out.act_row(e.activation, buffer, R * P * kPanel);
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_load_ps(buffer + i * kPanel);
  }
  PU_UNROLL
  for (int r = 0; r < R; ++r) {
    float* y = out.y + (row + r) * out.y_stride + column;
    const float* residual = e.residual == nullptr ? nullptr : e.residual + (row + r) * e.residual_stride + column;
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const __mmask16 mask = lanes(cols - p * kPanel);
      if (residual != nullptr) {
        acc[r][p] = _mm512_add_ps(acc[r][p], _mm512_maskz_loadu_ps(mask, residual + p * kPanel));
      }
      _mm512_mask_storeu_ps(y + p * kPanel, mask, acc[r][p]);
    }
  }
}

template <int R, int P>
PU_NOINLINE void write_tile(const Output& out, __m512 (&acc)[R][P], int row, int panel, int cols) {
  finish_registers(out, acc, row, panel, cols);
}

// A copy goes out, so that the accumulators themselves stay in registers.
template <int R, int P>
inline void store_tile(const Output& out, const __m512 (&acc)[R][P], int row, int panel, int cols) {
  __m512 copy[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) copy[i / P][i % P] = acc[i / P][i % P];
  write_tile(out, copy, row, panel, cols);
}

inline __m512 load_weights(const float* w) { return _mm512_loadu_ps(w); }
inline __m512 load_weights(const uint16_t* w) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
}

template <class W>
struct FloatGemm {
  // Converting a half takes two slots of the ports that multiply, so taller tiles pay there.
  static constexpr int kRows = sizeof(W) == 2 ? 8 : 6, kPanels = sizeof(W) == 2 ? 3 : 4;
  static constexpr int kGemvPanels = 8;  // 8 chains = fma latency 4 x 2 a cycle
  const float* x;
  ptrdiff_t x_stride;
  int k;
  const W* tiles;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    const ptrdiff_t panel_size = static_cast<ptrdiff_t>(k) * kPanel;
    const W* w = tiles + panel * panel_size;
    const float* a = x + row * x_stride;
    __m512 acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_setzero_ps();
    for (int i = 0; i < k; ++i) {
      __m512 weights[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) weights[p] = load_weights(w + p * panel_size + static_cast<ptrdiff_t>(i) * kPanel);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512 value = _mm512_set1_ps(a[r * x_stride + i]);
        PU_UNROLL
        for (int p = 0; p < P; ++p) acc[r][p] = _mm512_fmadd_ps(value, weights[p], acc[r][p]);
      }
    }
    store_tile(out, acc, row, panel, cols);
  }
};

struct Int8Gemm {
  static constexpr int kRows = 6, kPanels = 4, kGemvPanels = 8;
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const float* scales;
  Output out;
  const int32_t* start;  // [rows]: undoes the bias of the weights

  template <int R, int P>
  PU_NOINLINE void tile(int row, int panel, int cols) const {
    const ptrdiff_t quads = (k + 3) / 4, panel_size = quads * 64;
    const uint8_t* w = tiles + panel * panel_size;
    const ptrdiff_t q_stride = x->q_stride;
    const int8_t* a = x->q + row * q_stride;
    __m512i acc[R][P];
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i first = _mm512_set1_epi32(start[row + r]);
      PU_UNROLL
      for (int p = 0; p < P; ++p) acc[r][p] = first;
    }
    for (ptrdiff_t i = 0; i < quads; ++i) {
      __m512i weights[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) weights[p] = _mm512_loadu_si512(w + p * panel_size + i * 64);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512i value = _mm512_set1_epi32(load_quad(a + r * q_stride + i * 4));
        PU_UNROLL
        for (int p = 0; p < P; ++p) add_dot(acc[r][p], weights[p], value);
      }
    }
    __m512 y[R][P];
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const __m512 scale = _mm512_loadu_ps(scales + (panel + p) * kPanel);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        y[r][p] = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(acc[r][p]), scale), _mm512_set1_ps(x->scale[row + r]));
      }
    }
    const Epilogue& e = *out.epilogue;
    if (!out.plain() && e.residual != nullptr) return store_tile(out, y, row, panel, cols);
    // The way out is written here: calling for it costs 3 % of a product over 384.
    const ptrdiff_t column = static_cast<ptrdiff_t>(panel) * kPanel;
    __mmask16 mask[P];
    PU_UNROLL
    for (int p = 0; p < P; ++p) mask[p] = lanes(cols - p * kPanel);
    if (e.bias != nullptr) {
      PU_UNROLL
      for (int i = 0; i < R * P; ++i) {
        const __m512 bias = _mm512_maskz_loadu_ps(mask[i % P], e.bias + column + i % P * kPanel);
        y[i / P][i % P] = _mm512_add_ps(y[i / P][i % P], bias);
      }
    }
    if (e.residual != nullptr) {
      const float* residual = e.residual + row * e.residual_stride + column;
      PU_UNROLL
      for (int i = 0; i < R * P; ++i) {
        const float* from = residual + i / P * e.residual_stride + i % P * kPanel;
        y[i / P][i % P] = _mm512_add_ps(y[i / P][i % P], _mm512_maskz_loadu_ps(mask[i % P], from));
      }
    }
    float* to = out.y + row * out.y_stride + column;
    if (cols >= P * kPanel) {  // what a masked store wrote cannot be read again before it is in the cache
      PU_UNROLL
      for (int i = 0; i < R * P; ++i) _mm512_storeu_ps(to + i / P * out.y_stride + i % P * kPanel, y[i / P][i % P]);
    } else {
      PU_UNROLL
      for (int i = 0; i < R * P; ++i) {
        _mm512_mask_storeu_ps(to + i / P * out.y_stride + i % P * kPanel, mask[i % P], y[i / P][i % P]);
      }
    }
    if (out.plain()) return;
    for (int r = 0; r < R; ++r) out.act_row(e.activation, to + r * out.y_stride, cols < P * kPanel ? cols : P * kPanel);
  }
};

// Two accumulators a product: a tap's integer sum, and the float sum of taps, each with the scale of its own row. 6 x 2
// of both, 2 weights and a broadcast are 27 registers.
struct Int8Conv {
  static constexpr int kRows = 6, kPanels = 2, kGemvPanels = 4;
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
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          const ptrdiff_t at = window->row(base, row + r, tap);
          a[r] = at >= 0 ? x->q + at * x->q_stride : static_cast<const int8_t*>(window->zeros);
          row_scale[r] = at >= 0 ? x->scale[at] : 0.0f;
          const __m512i start = _mm512_set1_epi32(at >= 0 ? -128 * row_sum(*x, at, channels) : 0);
          PU_UNROLL
          for (int p = 0; p < P; ++p) dots[r][p] = start;
        }
        for (ptrdiff_t i = 0; i < quads; ++i) {
          __m512i weights[P];
          PU_UNROLL
          for (int p = 0; p < P; ++p) weights[p] = _mm512_loadu_si512(w + p * panel_size + i * 64);
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const __m512i value = _mm512_set1_epi32(load_quad(a[r] + i * 4));
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
    store_tile(out, acc, row, panel, cols);
  }
};

// One panel wide: a group's 8 unpacked registers serve up to 16 rows, whose float accumulators take 16 more.
struct Int4Gemm {
  static constexpr int kRows = 16, kPanels = 1, kGemvPanels = 2;
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
        __m512i low[4], high[4];
        PU_UNROLL
        for (int v = 0; v < 4; ++v) {
          const __m512i bytes = _mm512_loadu_si512(w + v * 64);
          if constexpr (R == 1) _mm_prefetch(reinterpret_cast<const char*>(w + v * 64 + 2048), _MM_HINT_T0);
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
            add_dot(sum, low[v], _mm512_set1_epi32(load_quad(values + v * 4)));
            add_dot(sum, high[v], _mm512_set1_epi32(load_quad(values + 16 + v * 4)));
          }
          acc[r][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, acc[r][p]);
        }
      }
    }
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) {
      acc[i / P][i % P] = _mm512_mul_ps(acc[i / P][i % P], _mm512_set1_ps(x->scale[row + i / P]));
    }
    store_tile(out, acc, row, panel, cols);
  }
};

void gemm_f32(const float* x, ptrdiff_t x_stride, int rows, int k, const float* tiles, int n, const Epilogue* e,
              float* y, ptrdiff_t y_stride) {
  for_each_tile(FloatGemm<float>{x, x_stride, k, tiles, {e, y, y_stride, act_row_avx512}}, rows, n);
}

void gemm_f16(const float* x, ptrdiff_t x_stride, int rows, int k, const uint16_t* tiles, int n, const Epilogue* e,
              float* y, ptrdiff_t y_stride) {
  for_each_tile(FloatGemm<uint16_t>{x, x_stride, k, tiles, {e, y, y_stride, act_row_avx512}}, rows, n);
}

void gemm_i8(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  constexpr int kBlock = 128;  // rows: they stay in L2 with the weights they meet
  int32_t start[kBlock];
  for (int row = 0; row < rows; row += kBlock) {
    const int count = rows - row < kBlock ? rows - row : kBlock;
    const QuantizedRows block{x->q + row * x->q_stride, x->q_stride, x->scale + row,
                              x->sum + row * (x->q_stride / kGroup)};
    for (int r = 0; r < count; ++r) start[r] = -128 * row_sum(block, r, k);
    Epilogue epilogue = *e;
    if (e->residual != nullptr) epilogue.residual += row * e->residual_stride;
    for_each_tile(Int8Gemm{&block, k, tiles, scales, {&epilogue, y + row * y_stride, y_stride, act_row_avx512}, start},
                  count, n);
  }
}

void conv_i8(const QuantizedRows* x, const ConvWindow* window, int rows, int channels, const uint8_t* tiles,
             const float* scales, int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int8Conv{x, window, channels, tiles, scales, {e, y, y_stride, act_row_avx512}}, rows, n);
}

void gemm_i4(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int4Gemm{x, k, tiles, scales, {e, y, y_stride, act_row_avx512}}, rows, n);
}

}  // namespace

void fill_gemm_avx512vnni(Kernels* kernels) {
  fill_quantize_avx512vnni(kernels);
  kernels->gemm_f32 = gemm_f32;
  kernels->gemm_f16 = gemm_f16;
  kernels->gemm_i8 = gemm_i8;
  kernels->gemm_i4 = gemm_i4;
  kernels->conv_i8 = conv_i8;
}

}  // namespace pocketuni
#endif
