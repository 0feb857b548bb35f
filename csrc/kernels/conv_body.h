// Convolutions over time with float weights, over the Vec and the gemm_tile.h that were included before.
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

inline Vec load_weights(const float* w) { return load(w); }
inline Vec load_weights(const uint16_t* w) { return from_f16(w); }

/// Bias, relu and residual in registers, then into memory: all of an epilogue but activations that are curves.
template <int R, int P>
PU_INLINE void leave(const Output& out, Vec (&acc)[R][P], int row, int panel, int cols) {
  const Epilogue& e = *out.epilogue;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel) * kPanel;
  const int last = cols - (P - 1) * kPanel;  // outputs of the last panel; the others are whole
  const auto read = [last](const float* from, int p) {
    return p < P - 1 || last >= kPanel ? load(from + p * kPanel) : load_part(from + p * kPanel, last, set(0.0f));
  };
  if (e.bias != nullptr) {
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const Vec bias = read(e.bias + column, p);
      PU_UNROLL
      for (int r = 0; r < R; ++r) acc[r][p] = acc[r][p] + bias;
    }
  }
  if (e.activation == Activation::kRelu) {
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = max(set(0.0f), acc[i / P][i % P]);
  }
  PU_UNROLL
  for (int r = 0; r < R; ++r) {
    float* y = out.y + (row + r) * out.y_stride + column;
    const float* residual = e.residual == nullptr ? nullptr : e.residual + (row + r) * e.residual_stride + column;
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const Vec value = residual == nullptr ? acc[r][p] : acc[r][p] + read(residual, p);
      p < P - 1 || last >= kPanel ? store(y + p * kPanel, value) : store_part(y + p * kPanel, value, last);
    }
  }
}

// The whole epilogue of a tile acc[rows][panels] whose activation is a curve, which takes so long that loops over its
// shape cost nothing.
constexpr int kMostTileVecs = 32;
PU_NOINLINE void write_curved(const Output& out, const Vec* acc, int rows, int panels, int row, int panel, int cols) {
  const Epilogue& e = *out.epilogue;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel) * kPanel;
  float buffer[kMostTileVecs * kPanel];
  for (int p = 0; p < panels; ++p) {
    const int left = cols - p * kPanel;
    Vec bias = set(0.0f);
    if (e.bias != nullptr)
      bias = left >= kPanel ? load(e.bias + column + p * kPanel)
                            : load_part(e.bias + column + p * kPanel, left, set(0.0f));
    for (int i = p; i < rows * panels; i += panels)
      store(buffer + i * kPanel, e.bias == nullptr ? acc[i] : acc[i] + bias);
  }
  out.act_row(e.activation, buffer, rows * panels * kPanel);
  for (int i = 0; i < rows * panels; ++i) {
    const int r = i / panels, p = i % panels, left = cols - p * kPanel;
    float* y = out.y + (row + r) * out.y_stride + column + p * kPanel;
    Vec value = load(buffer + i * kPanel);
    if (e.residual != nullptr) {
      const float* residual = e.residual + (row + r) * e.residual_stride + column + p * kPanel;
      value = value + (left >= kPanel ? load(residual) : load_part(residual, left, set(0.0f)));
    }
    left >= kPanel ? store(y, value) : store_part(y, value, left);
  }
}

// A copy goes to the way out with a curve, so that the accumulators themselves stay in registers.
template <int R, int P>
PU_INLINE void store_conv_tile(const Output& out, Vec (&acc)[R][P], int row, int panel, int cols) {
  if (!out.curved()) return leave(out, acc, row, panel, cols);
  Vec copy[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) copy[i / P][i % P] = acc[i / P][i % P];
  static_assert(R * P <= kMostTileVecs, "the buffer of write_curved is too small");
  write_curved(out, copy[0], R, P, row, panel, cols);
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
    store_conv_tile(out, acc, row, panel, cols);
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
