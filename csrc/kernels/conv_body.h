// Convolutions over time with float weights, over the Vec and the leave_body.h that were included before.
//
// A dense convolution is a matrix product whose rows of x are found tap by tap: accumulators stay in registers through
// all taps, and nothing is copied.
#pragma once

namespace pocketuni {
namespace {

inline const float* conv_row(const float* x, ptrdiff_t x_stride, const ConvWindow& w, ptrdiff_t base, int row,
                             int tap) {
  const ptrdiff_t at = w.row(base, row, tap);
  return at >= 0 ? x + at * x_stride : static_cast<const float*>(w.zeros);
}

template <class W>
struct FloatConv {
  static constexpr int kRows = kTileRows, kPanels = kTileVecs, kGemvPanels = 4 * kTileVecs;
  const float* x;
  ptrdiff_t x_stride;
  const ConvWindow* window;
  int channels;
  const W* tiles;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    const ptrdiff_t panel_size = static_cast<ptrdiff_t>(window->all_taps()) * channels * kPanel;
    const W* w = tiles + panel * panel_size;
    Vec acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = set(0.0f);
    const bool inside = window->has(row, R);
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      if (base < 0) {
        w += static_cast<ptrdiff_t>(window->taps) * channels * kPanel;
        continue;
      }
      for (int tap = 0; tap < window->taps; ++tap) {
        const float* a[R];
        const float* first = x + (base + window->at(row, tap)) * x_stride;
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          a[r] = inside ? first + r * window->stride * x_stride : conv_row(x, x_stride, *window, base, row + r, tap);
        }
        for (ptrdiff_t i = 0; i < channels; ++i, w += kPanel) {
          Vec weights[P];
          PU_UNROLL
          for (int p = 0; p < P; ++p) weights[p] = load_weights(w + p * panel_size);
          PU_UNROLL
          for (int r = 0; r < R; ++r) {
            const Vec value = set(a[r][i]);
            PU_UNROLL
            for (int p = 0; p < P; ++p) acc[r][p] = fma(value, weights[p], acc[r][p]);
          }
        }
      }
    }
    store_tile(out, acc, row, panel, cols);
  }
};

void conv_f32(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels, const float* tiles,
              int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const Output out{e, y, y_stride, act_row};
  for_each_tile(FloatConv<float>{x, x_stride, window, channels, tiles, out}, rows, n);
}

void conv_f16(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels,
              const uint16_t* tiles, int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const Output out{e, y, y_stride, act_row};
  for_each_tile(FloatConv<uint16_t>{x, x_stride, window, channels, tiles, out}, rows, n);
}

void fill_conv(Kernels* kernels) {
  kernels->conv_f32 = conv_f32;
  kernels->conv_f16 = conv_f16;
}

}  // namespace
}  // namespace pocketuni
