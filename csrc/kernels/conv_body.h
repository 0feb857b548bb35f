// Convolutions over time with float weights, over the Vec and the gemm_tile.h that were included before.
//
// A dense convolution is a matrix product whose rows of x are found tap by tap: accumulators stay in registers through
// all taps, and nothing is copied. Depthwise ones run over blocks of rows, with a vector of channels at a time.
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

template <int R, int P>
PU_NOINLINE void write_tile(const Output& out, Vec (&acc)[R][P], int row, int panel, int cols) {
  const Epilogue& e = *out.epilogue;
  const int column = panel * kPanel;
  const auto read = [](const float* p, int n) { return n >= kPanel ? load(p) : load_part(p, n, set(0.0f)); };
  if (e.bias != nullptr) {
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const Vec bias = read(e.bias + column + p * kPanel, cols - p * kPanel);
      PU_UNROLL
      for (int r = 0; r < R; ++r) acc[r][p] = acc[r][p] + bias;
    }
  }
  if (!out.plain()) {
    float buffer[R * P * kPanel];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) store(buffer + i * kPanel, acc[i / P][i % P]);
    out.act_row(e.activation, buffer, R * P * kPanel);
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = load(buffer + i * kPanel);
  }
  PU_UNROLL
  for (int r = 0; r < R; ++r) {
    float* y = out.y + (row + r) * out.y_stride + column;
    const float* residual = e.residual == nullptr ? nullptr : e.residual + (row + r) * e.residual_stride + column;
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const int n = cols - p * kPanel;
      const Vec value = residual == nullptr ? acc[r][p] : acc[r][p] + read(residual + p * kPanel, n);
      n >= kPanel ? store(y + p * kPanel, value) : store_part(y + p * kPanel, value, n);
    }
  }
}

// A copy goes out, so that the accumulators themselves stay in registers.
template <int R, int P>
inline void store_conv_tile(const Output& out, const Vec (&acc)[R][P], int row, int panel, int cols) {
  Vec copy[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) copy[i / P][i % P] = acc[i / P][i % P];
  write_tile(out, copy, row, panel, cols);
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
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      if (base < 0) {
        w += static_cast<ptrdiff_t>(window->taps) * channels * kPanel;
        continue;
      }
      for (int tap = 0; tap < window->taps; ++tap) {
        const float* a[R];
        PU_UNROLL
        for (int r = 0; r < R; ++r) {
          a[r] = conv_row(x, x_stride, *window, base, row + r, tap);
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

struct Depthwise {
  const float* x;
  ptrdiff_t x_stride;
  const ConvWindow* window;
  int channels;
  const float* weights;
  const Epilogue* epilogue;
  float* y;
  ptrdiff_t y_stride;

  ptrdiff_t source(int row, int tap) const { return window->first + row * window->stride + tap * window->dilation; }

  // A vector of channels, whole or its first `count`.
  template <int R, class Load, class Store>
  void channels_of_rows(int row, int c, Load get, Store put) const {
    const ptrdiff_t row_step = window->stride * x_stride, tap_step = window->dilation * x_stride;
    const float* w = weights + c;
    Vec acc[R];
    PU_UNROLL
    for (int r = 0; r < R; ++r) acc[r] = set(0.0f);
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      if (base < 0) {
        w += static_cast<ptrdiff_t>(window->taps) * channels;
        continue;
      }
      const float* from = x + (base + source(row, 0)) * x_stride + c;
      for (int tap = 0; tap < window->taps; ++tap, from += tap_step, w += channels) {
        const Vec weight = get(w);
        PU_UNROLL
        for (int r = 0; r < R; ++r) acc[r] = fma(get(from + r * row_step), weight, acc[r]);
      }
    }
    const Vec bias = epilogue->bias != nullptr ? get(epilogue->bias + c) : set(0.0f);
    PU_UNROLL
    for (int r = 0; r < R; ++r) put(y + (row + r) * y_stride + c, epilogue->bias != nullptr ? acc[r] + bias : acc[r]);
  }

  // Rows whose taps all lie inside.
  template <int R>
  void inner(int row) const {
    int c = 0;
    for (; c + 16 <= channels; c += 16) {
      channels_of_rows<R>(row, c, [](const float* p) { return load(p); }, [](float* p, Vec v) { store(p, v); });
    }
    const int count = channels - c;
    if (count > 0) {
      channels_of_rows<R>(
          row, c, [count](const float* p) { return load_part(p, count, set(0.0f)); },
          [count](float* p, Vec v) { store_part(p, v, count); });
    }
  }

  // A row at an edge: taps one by one.
  void edge(int row) const {
    for (int c = 0; c < channels; c += 16) {
      const int count = channels - c < 16 ? channels - c : 16;
      const auto get = [count](const float* p) { return count == 16 ? load(p) : load_part(p, count, set(0.0f)); };
      Vec acc = set(0.0f);
      const float* w = weights + c;
      for (int tap = 0; tap < window->all_taps(); ++tap, w += channels) {
        const ptrdiff_t base = window->line(tap / window->taps);
        if (base < 0) continue;
        acc = fma(get(conv_row(x, x_stride, *window, base, row, tap % window->taps) + c), get(w), acc);
      }
      if (epilogue->bias != nullptr) acc = acc + get(epilogue->bias + c);
      store_part(y + row * y_stride + c, acc, count);
    }
  }

  bool is_inner(int row) const { return source(row, 0) >= 0 && source(row, window->taps - 1) < window->length; }

  void finish(int row) const {
    float* out = y + row * y_stride;
    act_row(epilogue->activation, out, channels);
    if (epilogue->residual != nullptr) {
      const float* residual = epilogue->residual + row * epilogue->residual_stride;
      binary_f32(Binary::kAdd, out, 1, residual, 1, out, static_cast<size_t>(channels));
    }
  }
};

void depthwise_f32(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels,
                   const float* weights, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const Depthwise op{x, x_stride, window, channels, weights, e, y, y_stride};
  constexpr int kBlock = kTileRows;
  for (int row = 0; row < rows;) {
    if (row + kBlock <= rows && op.is_inner(row) && op.is_inner(row + kBlock - 1)) {
      op.inner<kBlock>(row);
      row += kBlock;
    } else {
      op.is_inner(row) ? op.inner<1>(row) : op.edge(row);
      ++row;
    }
  }
  if (e->activation == Activation::kNone && e->residual == nullptr) return;
  for (int row = 0; row < rows; ++row) op.finish(row);
}

void fill_conv(Kernels* kernels) {
  kernels->conv_f32 = conv_f32;
  kernels->conv_f16 = conv_f16;
  kernels->depthwise_f32 = depthwise_f32;
}

}  // namespace
}  // namespace pocketuni
