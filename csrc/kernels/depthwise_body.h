// Convolutions and the largest of each channel alone, over the Vec, the nn_body.h and the conv_body.h that were
// included before.
//
// Tiles of rows x vectors of channels have eight chains of products or so, as one alone waits for each: many rows where
// all their taps lie inside, and several vectors of channels for a few rows or at an edge. Where a vector holds the
// channels of two or more rows that follow each other, it takes them at once.
#pragma once

namespace pocketuni {
namespace {

// What a tap does to a sum: `Weigh` for convolutions, `Largest` for pooling, which has no weights.
struct Weigh {
  static Vec start() { return set(0.0f); }
  static Vec add(Vec acc, Vec x, Vec weight) { return fma(x, weight, acc); }
};
struct Largest {
  static Vec start() { return set(-INFINITY); }
  static Vec add(Vec acc, Vec x, Vec) { return max_nan(acc, x); }
};

template <class Tap>
struct Depthwise {
  static constexpr int kMostTaps = 32;  // whose weights fit the table of `flat`
  const float* x;
  ptrdiff_t x_stride;
  const ConvWindow* window;
  int channels;
  const float* weights;
  const Epilogue* epilogue;
  float* y;
  ptrdiff_t y_stride;

  // Bias and relu, then into memory.
  template <int R, int V, class Load, class Store>
  PU_INLINE void leave(Vec (&acc)[R][V], float* to, const float* bias, Load get, Store put) const {
    if (bias != nullptr) {
      PU_UNROLL
      for (int i = 0; i < R * V; ++i) acc[i / V][i % V] = acc[i / V][i % V] + get(bias + i % V * kPanel);
    }
    if (epilogue->activation == Activation::kRelu) {
      PU_UNROLL
      for (int i = 0; i < R * V; ++i) acc[i / V][i % V] = max(set(0.0f), acc[i / V][i % V]);
    }
    PU_UNROLL
    for (int i = 0; i < R * V; ++i) put(to + i / V * y_stride + i % V * kPanel, acc[i / V][i % V]);
  }

  // R rows from `row` on, V vectors of channels from c on. kInner: all taps of all these rows lie inside.
  template <int R, int V, bool kInner, class Load, class Store>
  void tile(int row, int c, Load get, Store put) const {
    constexpr bool kWeighs = std::is_same<Tap, Weigh>::value;
    const ptrdiff_t row_step = window->stride * x_stride, tap_step = window->dilation * x_stride;
    const float* w = kWeighs ? weights + c : x;  // read by Weigh alone
    Vec acc[R][V];
    PU_UNROLL
    for (int i = 0; i < R * V; ++i) acc[i / V][i % V] = Tap::start();
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      if (base < 0) {
        w += static_cast<ptrdiff_t>(window->taps) * channels;
        continue;
      }
      const float* from = kInner ? x + (base + window->at(row, 0)) * x_stride + c : nullptr;
      for (int tap = 0; tap < window->taps; ++tap, from += kInner ? tap_step : 0, w += channels) {
        if (!kInner) from = conv_row(x, x_stride, *window, base, row, tap) + c;
        PU_UNROLL
        for (int v = 0; v < V; ++v) {
          const Vec weight = kWeighs ? get(w + v * kPanel) : Tap::start();
          PU_UNROLL
          for (int r = 0; r < R; ++r) acc[r][v] = Tap::add(acc[r][v], get(from + r * row_step + v * kPanel), weight);
        }
      }
    }
    leave(acc, y + row * y_stride + c, epilogue->bias == nullptr ? nullptr : epilogue->bias + c, get, put);
  }

  template <int R, int V, bool kInner>
  void rows(int row) const {
    const auto read = [](const float* p) { return load(p); };
    const auto write = [](float* p, Vec v) { store(p, v); };
    int c = 0;
    for (; c + V * kPanel <= channels; c += V * kPanel) tile<R, V, kInner>(row, c, read, write);
    if constexpr (V > 1) {
      for (; c + kPanel <= channels; c += kPanel) tile<R, 1, kInner>(row, c, read, write);
    }
    const int count = channels - c;
    if (count == 0) return;
    const auto read_part = [count](const float* p) { return load_part(p, count, set(0.0f)); };
    tile<R, 1, kInner>(row, c, read_part, [count](float* p, Vec v) { store_part(p, v, count); });
  }

  // Rows [begin, end), all of them inside.
  void inner(int begin, int end) const {
    int row = begin;
    for (; row + kTileRows <= end; row += kTileRows) rows<kTileRows, 1, true>(row);
    for (; row + 4 <= end; row += 4) rows<4, kTileVecs, true>(row);
    for (; row < end; ++row) rows<1, 4, true>(row);
  }

  // Whether a row and the next are contiguous and a vector holds whole ones.
  bool is_flat() const {
    return channels < kPanel && kPanel % channels == 0 && x_stride == channels && y_stride == channels &&
           window->stride == 1 && window->all_taps() <= kMostTaps;
  }

  template <int R, class Load, class Store>
  void flat_tile(const float* table, ptrdiff_t first, int at, Load get, Store put) const {
    const ptrdiff_t tap_step = window->dilation * channels;
    const float* w = table;
    Vec acc[R][1];
    PU_UNROLL
    for (int r = 0; r < R; ++r) acc[r][0] = set(0.0f);
    for (int line = 0; line < window->lines; ++line) {
      const ptrdiff_t base = window->line(line);
      const float* from = x + (base + first) * channels + at;
      for (int tap = 0; tap < window->taps && base >= 0; ++tap, from += tap_step) {
        const Vec weight = load(w + tap * kPanel);
        PU_UNROLL
        for (int r = 0; r < R; ++r) acc[r][0] = fma(get(from + r * kPanel), weight, acc[r][0]);
      }
      w += window->taps * kPanel;
    }
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      if (epilogue->bias != nullptr) acc[r][0] = acc[r][0] + load(w);
      if (epilogue->activation == Activation::kRelu) acc[r][0] = max(set(0.0f), acc[r][0]);
      put(y + at + r * kPanel, acc[r][0]);
    }
  }

  // Rows [begin, end), all inside, as one row of so many times the channels.
  void flat(int begin, int end) const {
    float table[(kMostTaps + 1) * kPanel];  // weights of each tap, then the bias
    const int taps = window->all_taps();
    const auto repeat = [this](const float* from, float* to) {
      for (int i = 0; i < kPanel; i += channels) memcpy(to + i, from, static_cast<size_t>(channels) * sizeof *to);
    };
    for (int tap = 0; tap < taps; ++tap) repeat(weights + tap * channels, table + tap * kPanel);
    if (epilogue->bias != nullptr) repeat(epilogue->bias, table + taps * kPanel);
    const ptrdiff_t first = window->at(0, 0);
    const auto read = [](const float* p) { return load(p); };
    const auto write = [](float* p, Vec v) { store(p, v); };
    int at = begin * channels;
    const int to = end * channels;
    for (; at + kTileRows * kPanel <= to; at += kTileRows * kPanel) {
      flat_tile<kTileRows>(table, first, at, read, write);
    }
    for (; at + kPanel <= to; at += kPanel) flat_tile<1>(table, first, at, read, write);
    const int count = to - at;
    if (count == 0) return;
    const auto read_part = [count](const float* p) { return load_part(p, count, set(0.0f)); };
    flat_tile<1>(table, first, at, read_part, [count](float* p, Vec v) { store_part(p, v, count); });
  }

  // What `leave` did not do.
  void finish(int row) const {
    float* out = y + row * y_stride;
    if (epilogue->activation != Activation::kRelu) act_row(epilogue->activation, out, channels);
    if (epilogue->residual != nullptr) {
      const float* residual = epilogue->residual + row * epilogue->residual_stride;
      binary_f32(Binary::kAdd, out, 1, residual, 1, out, static_cast<size_t>(channels));
    }
  }
};

void depthwise_f32(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels,
                   const float* weights, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const Depthwise<Weigh> op{x, x_stride, window, channels, weights, e, y, y_stride};
  int row = 0, end = rows;  // [row, end): inside
  for (; row < rows && !window->has(row, 1); ++row) op.rows<1, 4, false>(row);
  for (; end > row && !window->has(end - 1, 1); --end) op.rows<1, 4, false>(end - 1);
  op.is_flat() ? op.flat(row, end) : op.inner(row, end);
  if ((e->activation == Activation::kNone || e->activation == Activation::kRelu) && e->residual == nullptr) return;
  for (row = 0; row < rows; ++row) op.finish(row);
}

void max_pool_f32(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels, float* y,
                  ptrdiff_t y_stride) {
  const Epilogue none;
  const Depthwise<Largest> op{x, x_stride, window, channels, nullptr, &none, y, y_stride};
  int row = 0;
  while (row < rows) {
    if (row + 4 <= rows && window->has(row, 4)) {
      op.template rows<4, kTileVecs, true>(row);
      row += 4;
    } else {
      op.template rows<1, 4, false>(row++);
    }
  }
}

void fill_depthwise(Kernels* kernels) {
  kernels->depthwise_f32 = depthwise_f32;
  kernels->max_pool_f32 = max_pool_f32;
}

}  // namespace
}  // namespace pocketuni
