// NEON kernels that plain ARMv8.0 and the dot-product extension share; `Dot` is what differs. A panel is four registers
// of 4 outputs. All in an unnamed namespace, as each includer compiles it with its own flags.
#pragma once
#include <arm_neon.h>

#include <cstring>

#include "gemm.h"
#include "gemm_tile.h"
#include "nn.h"
#include "vec_neon.h"
// It is written over what stands above it.
#include "leave_body.h"

namespace pocketuni {
namespace {

constexpr ActRow kActRow = act_row_neon;

}  // namespace
}  // namespace pocketuni

#include "depthwise_i8_body.h"

namespace pocketuni {
namespace {

inline int8x16_t broadcast_quad(const int8_t* q) {
  int32_t value;
  std::memcpy(&value, q, sizeof value);
  return vreinterpretq_s8_s32(vdupq_n_s32(value));
}

template <class Dot>
struct Int8Gemm {
  static constexpr int kRows = Dot::kRows, kPanels = 1, kGemvPanels = 2;
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const float* scales;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    constexpr int V = 4 * P;
    const ptrdiff_t quads = (k + 3) / 4, panel_size = quads * 64;
    const uint8_t* w = tiles + panel * panel_size;
    const ptrdiff_t q_stride = x->q_stride;
    const int8_t* a = x->q + row * q_stride;
    int32x4_t acc[R][V];
    PU_UNROLL
    for (int i = 0; i < R * V; ++i) acc[i / V][i % V] = vdupq_n_s32(0);
    for (ptrdiff_t i = 0; i < quads; ++i) {
      int8x16_t weights[V];
      PU_UNROLL
      for (int v = 0; v < V; ++v) {
        const uint8x16_t biased = vld1q_u8(w + v / 4 * panel_size + i * 64 + v % 4 * 16);
        weights[v] = vreinterpretq_s8_u8(veorq_u8(biased, vdupq_n_u8(0x80)));
      }
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const int8x16_t value = broadcast_quad(a + r * q_stride + i * 4);
        PU_UNROLL
        for (int v = 0; v < V; ++v) acc[r][v] = Dot::add(acc[r][v], weights[v], value);
      }
    }
    Vec y[R][P];
    PU_UNROLL
    for (int v = 0; v < V; ++v) {
      const float32x4_t scale = vld1q_f32(scales + panel * kPanel + v * 4);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const float32x4_t sum = vmulq_f32(vcvtq_f32_s32(acc[r][v]), scale);
        y[r][v / 4].q[v % 4] = vmulq_n_f32(sum, x->scale[row + r]);
      }
    }
    store_tile(out, y, row, panel, cols);
  }
};

// The float sums of the taps stay in memory, for the registers hold a tap's integer sums.
template <class Dot>
struct Int8Conv {
  static constexpr int kRows = Dot::kRows, kPanels = 1, kGemvPanels = 2;
  const QuantizedRows* x;
  const ConvWindow* window;
  int channels;
  const uint8_t* tiles;
  const float* scales;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    constexpr int V = 4 * P;
    const ptrdiff_t quads = channels / 4, panel_size = quads * window->all_taps() * 64;
    const uint8_t* w = tiles + panel * panel_size;
    Vec sums[R][P];
    for (int i = 0; i < R * P; ++i) sums[i / P][i % P] = set(0.0f);
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      if (base < 0) {
        w += window->taps * quads * 64;
        continue;
      }
      for (int tap = 0; tap < window->taps; ++tap, w += quads * 64) {
        const int8_t* a[R];
        float row_scale[R];
        int32x4_t acc[R][V];
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          const ptrdiff_t at = window->row(base, row + r, tap);
          a[r] = at >= 0 ? x->q + at * x->q_stride : static_cast<const int8_t*>(window->zeros);
          row_scale[r] = at >= 0 ? x->scale[at] : 0.0f;
          PU_UNROLL
          for (int v = 0; v < V; ++v) acc[r][v] = vdupq_n_s32(0);
        }
        for (ptrdiff_t i = 0; i < quads; ++i) {
          int8x16_t weights[V];
          PU_UNROLL
          for (int v = 0; v < V; ++v) {
            const uint8x16_t biased = vld1q_u8(w + v / 4 * panel_size + i * 64 + v % 4 * 16);
            weights[v] = vreinterpretq_s8_u8(veorq_u8(biased, vdupq_n_u8(0x80)));
          }
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const int8x16_t value = broadcast_quad(a[r] + i * 4);
            PU_UNROLL
            for (int v = 0; v < V; ++v) acc[r][v] = Dot::add(acc[r][v], weights[v], value);
          }
        }
        for (int r = 0; r < R; ++r) {
          for (int v = 0; v < V; ++v) {
            float32x4_t& sum = sums[r][v / 4].q[v % 4];
            sum = vfmaq_n_f32(sum, vcvtq_f32_s32(acc[r][v]), row_scale[r]);
          }
        }
      }
    }
    for (int i = 0; i < R * P; ++i) sums[i / P][i % P] = sums[i / P][i % P] * load(scales + (panel + i % P) * kPanel);
    store_tile(out, sums, row, panel, cols);
  }
};

template <class Dot>
void conv_i8(const QuantizedRows* x, const ConvWindow* window, int rows, int channels, const uint8_t* tiles,
             const float* scales, int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int8Conv<Dot>{x, window, channels, tiles, scales, {e, y, y_stride, kActRow}}, rows, n);
}

// A quarter of a panel at a time, so that the unpacked nibbles of a group stay in registers for all rows.
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
    Vec acc[R][1];
    PU_UNROLL
    for (int r = 0; r < R; ++r) acc[r][0] = set(0.0f);
    for (ptrdiff_t g = 0; g < groups; ++g) {
      const ptrdiff_t block = panel * groups + g;
      PU_UNROLL
      for (int v = 0; v < 4; ++v) {
        const uint8_t* w = tiles + block * 256 + v * 16;
        int32x4_t dots[R];
        PU_UNROLL
        for (int r = 0; r < R; ++r) dots[r] = vdupq_n_s32(-8 * sums[r * sum_stride + g]);
        PU_UNROLL
        for (int i = 0; i < 4; ++i) {
          const uint8x16_t bytes = vld1q_u8(w + i * 64);
          const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
          const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const int8_t* values = a + r * q_stride + g * kGroup + i * 4;
            dots[r] = Dot::add(dots[r], low, broadcast_quad(values));
            dots[r] = Dot::add(dots[r], high, broadcast_quad(values + 16));
          }
        }
        const float16x4_t half = vreinterpret_f16_u16(vld1_u16(scales + block * kPanel + v * 4));
        const float32x4_t scale = vcvt_f32_f16(half);
        PU_UNROLL
        for (int r = 0; r < R; ++r) acc[r][0].q[v] = vfmaq_f32(acc[r][0].q[v], vcvtq_f32_s32(dots[r]), scale);
      }
    }
    PU_UNROLL
    for (int r = 0; r < R; ++r) acc[r][0] = acc[r][0] * set(x->scale[row + r]);
    store_tile(out, acc, row, panel, cols);
  }
};

template <class Dot>
struct DepthwiseDot {
  static constexpr int kRows = Dot::kRows, kBias = 0;
  using Weights = Ints;
  static Weights load(const uint8_t* w) { return load_ints(w); }
  static void add(Ints& acc, const Ints& x, const Weights& w) {
    PU_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int8x16_t bytes = vreinterpretq_s8_u32(x.q[i]), four = vreinterpretq_s8_u32(w.q[i]);
      acc.q[i] = vreinterpretq_u32_s32(Dot::add(vreinterpretq_s32_u32(acc.q[i]), four, bytes));
    }
  }
};

template <class Dot>
void gemm_i8(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int8Gemm<Dot>{x, k, tiles, scales, {e, y, y_stride, kActRow}}, rows, n);
}

template <class Dot>
void gemm_i4(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int4Gemm<Dot>{x, k, tiles, scales, {e, y, y_stride, kActRow}}, rows, n);
}

}  // namespace
}  // namespace pocketuni
