// 256-bit kernels that AVX2 and AVX-VNNI share; `Dot` is what differs. A panel is two registers of 8 outputs. All in an
// unnamed namespace, as each includer compiles it with its own flags.
#pragma once
#include <immintrin.h>

#include <cstring>

#include "gemm.h"
#include "gemm_tile.h"
#include "nn.h"
#include "vec_avx2.h"
// It is written over what stands above it.
#include "leave_body.h"

namespace pocketuni {
namespace {

constexpr ActRow kActRow = act_row_avx2;

}  // namespace
}  // namespace pocketuni

#include "depthwise_i8_body.h"

namespace pocketuni {
namespace {

inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

inline __m256i broadcast_quad(const int8_t* q) {
  int32_t value;
  std::memcpy(&value, q, sizeof value);
  return _mm256_set1_epi32(value);
}

// The 8 outputs of an even or an odd half of a tile.
PU_INLINE __m256& half_of(Vec& x, int half) { return half % 2 == 0 ? x.a : x.b; }

// Adds to acc[r][h] the products of rows a[r] with the weights of half h of a panel and of those behind it, `quads` of
// four inputs each.
template <class Dot, int R, int H>
PU_INLINE void add_quads(const int8_t* const (&a)[R], const uint8_t* w, ptrdiff_t panel_size, ptrdiff_t quads,
                         __m256i (&acc)[R][H]) {
  for (ptrdiff_t i = 0; i < quads; ++i) {
    typename Dot::Weights weights[H];
    PU_UNROLL
    for (int h = 0; h < H; ++h) weights[h] = Dot::load(w + h / 2 * panel_size + i * 64 + h % 2 * 32);
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m256i value = broadcast_quad(a[r] + i * 4);
      PU_UNROLL
      for (int h = 0; h < H; ++h) acc[r][h] = Dot::add(acc[r][h], weights[h], value);
    }
  }
}

// Several rows take Dot::kHalves halves of a panel at once, whose accumulators stay in registers.
template <class Dot, int R, int P>
constexpr int kHalvesAtOnce = R == 1 ? 2 * P : Dot::kHalves;

template <class Dot>
struct Int8Gemm {
  static constexpr int kRows = Dot::kRows, kPanels = 1, kGemvPanels = Dot::kGemvPanels;
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const float* scales;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    constexpr int H = kHalvesAtOnce<Dot, R, P>;
    const ptrdiff_t quads = (k + 3) / 4, panel_size = quads * 64;
    const uint8_t* w = tiles + panel * panel_size;
    const int8_t* a[R];
    PU_UNROLL
    for (int r = 0; r < R; ++r) a[r] = x->q + (row + r) * x->q_stride;
    Vec y[R][P];
    PU_UNROLL
    for (int half = 0; half < 2 * P; half += H) {
      __m256i acc[R][H];
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m256i start = _mm256_set1_epi32(Dot::kBiased ? -128 * row_sum(*x, row + r, k) : 0);
        PU_UNROLL
        for (int h = 0; h < H; ++h) acc[r][h] = start;
      }
      add_quads<Dot>(a, w + half % 2 * 32, panel_size, quads, acc);
      PU_UNROLL
      for (int h = 0; h < H; ++h) {
        const __m256 scale = _mm256_loadu_ps(scales + panel * kPanel + (half + h) * 8);
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          const __m256 sum = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[r][h]), scale);
          half_of(y[r][(half + h) / 2], h + half) = _mm256_mul_ps(sum, _mm256_set1_ps(x->scale[row + r]));
        }
      }
    }
    store_tile(out, y, row, panel, cols);
  }
};

// The float sums of the taps stay in memory, for 16 registers do not hold them beside a tap's integer sums.
template <class Dot>
struct Int8Conv {
  static constexpr int kRows = Dot::kRows, kPanels = 1, kGemvPanels = Dot::kGemvPanels;
  const QuantizedRows* x;
  const ConvWindow* window;
  int channels;
  const uint8_t* tiles;
  const float* scales;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    constexpr int H = kHalvesAtOnce<Dot, R, P>;
    const ptrdiff_t quads = channels / 4, panel_size = quads * window->all_taps() * 64;
    const uint8_t* w = tiles + panel * panel_size;
    alignas(32) float sums[R * P * kPanel] = {};
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      if (base < 0) {
        w += window->taps * quads * 64;
        continue;
      }
      for (int tap = 0; tap < window->taps; ++tap, w += quads * 64) {
        const int8_t* a[R];
        float row_scale[R];
        int32_t start[R];
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          const ptrdiff_t at = window->row(base, row + r, tap);
          a[r] = at >= 0 ? x->q + at * x->q_stride : static_cast<const int8_t*>(window->zeros);
          row_scale[r] = at >= 0 ? x->scale[at] : 0.0f;
          start[r] = Dot::kBiased && at >= 0 ? -128 * row_sum(*x, at, channels) : 0;
        }
        PU_UNROLL
        for (int half = 0; half < 2 * P; half += H) {
          __m256i acc[R][H];
          PU_UNROLL
          for (int i = 0; i < R * H; ++i) acc[i / H][i % H] = _mm256_set1_epi32(start[i / H]);
          add_quads<Dot>(a, w + half % 2 * 32, panel_size, quads, acc);
          PU_UNROLL
          for (int i = 0; i < R * H; ++i) {
            float* sum = sums + (i / H * 2 * P + half + i % H) * 8;
            const __m256 scale = _mm256_set1_ps(row_scale[i / H]);
            _mm256_store_ps(sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[i / H][i % H]), scale, _mm256_load_ps(sum)));
          }
        }
      }
    }
    Vec y[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) {
      y[i / P][i % P] = load(sums + i * kPanel) * load(scales + (panel + i % P) * kPanel);
    }
    store_tile(out, y, row, panel, cols);
  }
};

// Half a panel at a time: 8 unpacked registers would leave no room for both halves' accumulators, and the other half of
// each line is still in L1 when its turn comes within the group.
template <class Dot>
struct Int4Gemm {
  static constexpr int kRows = 4, kPanels = 1, kGemvPanels = 1;
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const uint16_t* scales;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    static_assert(P == 1, "one panel");
    const ptrdiff_t groups = (k + kGroup - 1) / kGroup, q_stride = x->q_stride, sum_stride = q_stride / kGroup;
    const int8_t* a = x->q + row * q_stride;
    const int32_t* sums = x->sum + row * sum_stride;
    const __m256i mask = _mm256_set1_epi8(15);
    Vec acc[R][1];
    PU_UNROLL
    for (int r = 0; r < R; ++r) acc[r][0] = set(0.0f);
    for (ptrdiff_t g = 0; g < groups; ++g) {
      const ptrdiff_t block = panel * groups + g;
      PU_UNROLL
      for (int h = 0; h < 2; ++h) {
        const uint8_t* w = tiles + block * 256 + h * 32;
        __m256i dots[R];
        PU_UNROLL
        for (int r = 0; r < R; ++r) dots[r] = Dot::nibbles_start(-8 * sums[r * sum_stride + g]);
        PU_UNROLL
        for (int v = 0; v < 4; ++v) {
          const __m256i bytes = load256(w + v * 64);
          if constexpr (R == 1) _mm_prefetch(reinterpret_cast<const char*>(w + v * 64 + 2048), _MM_HINT_T0);
          const __m256i low = _mm256_and_si256(bytes, mask);
          const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const int8_t* values = a + r * q_stride + g * kGroup + v * 4;
            dots[r] = Dot::nibbles_add(dots[r], low, broadcast_quad(values));
            dots[r] = Dot::nibbles_add(dots[r], high, broadcast_quad(values + 16));
          }
        }
        const __m256 scale =
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales + block * kPanel + h * 8)));
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          const __m256i isum = Dot::nibbles_end(dots[r], -8 * sums[r * sum_stride + g]);
          __m256& sum = half_of(acc[r][0], h);
          sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), scale, sum);
        }
      }
    }
    PU_UNROLL
    for (int r = 0; r < R; ++r) acc[r][0] = acc[r][0] * set(x->scale[row + r]);
    store_tile(out, acc, row, panel, cols);
  }
};

template <class Dot>
void gemm_i8(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int8Gemm<Dot>{x, k, tiles, scales, {e, y, y_stride, kActRow}}, rows, n);
}

template <class Dot>
void conv_i8(const QuantizedRows* x, const ConvWindow* window, int rows, int channels, const uint8_t* tiles,
             const float* scales, int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int8Conv<Dot>{x, window, channels, tiles, scales, {e, y, y_stride, kActRow}}, rows, n);
}

template <class Dot>
void gemm_i4(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int4Gemm<Dot>{x, k, tiles, scales, {e, y, y_stride, kActRow}}, rows, n);
}

}  // namespace
}  // namespace pocketuni
