// Depthwise convolutions in int8, over the Vec, the store_tile and kActRow of an ISA that were included before. What
// differs beside them is `Dot`: kRows, the rows of a tile; kBias, what is added to the bytes of x; load(weights) and
// add(acc, x, weights), four products a lane.
#pragma once

namespace pocketuni {
namespace {

constexpr int32_t kSigns = -0x7f7f7f80;  // 0x80 in each byte

// Calls body with a function that reads 16 channels, or as many as there are.
template <class F>
PU_INLINE void with_channels(int channels, F body) {
  if (channels >= kPanel) return body([](const float* p) { return load(p); });
  body([channels](const float* p) { return load_part(p, channels, set(0.0f)); });
}

// Absolute values are compared as integers: the order is that of floats, and NaN comes out above infinity.
inline void depthwise_scales(const float* x, ptrdiff_t x_stride, ptrdiff_t pixels, int channels, const float* scales,
                             DepthwiseScales* to) {
  Ints even = repeat(0), odd = even;
  with_channels(channels, [&](auto read) {
    ptrdiff_t i = 0;
    for (; i + 2 <= pixels; i += 2) {
      even = larger(even, bits_of(abs_of(read(x + i * x_stride))));
      odd = larger(odd, bits_of(abs_of(read(x + (i + 1) * x_stride))));
    }
    if (i < pixels) even = larger(even, bits_of(abs_of(read(x + i * x_stride))));
  });
  const Vec max = floats_of(larger(even, odd)), zero = set(0.0f), infinity = set(INFINITY), least = set(kSmallestMax);
  const Vec scale = if_less(max, infinity, max / set(127.0f), set(NAN));
  const Vec inverse = if_less(max, infinity, set(127.0f) / max, zero);
  store(to->scale, if_less(max, least, zero, scale) * load(scales));
  store(to->inverse, if_less(max, least, zero, inverse));
}

template <class Dot>
void depthwise_weights(const uint8_t* tile, int lines, int taps, uint8_t* quads) {
  const int last = (lines * taps - 1) / 4;
  Ints sum = repeat(0);
  uint8_t* to = quads + 64;
  for (int line = 0; line < lines; ++line) {
    for (int tap = 0; tap < taps; tap += 4, to += 64) {
      const int first = line * taps + tap, at = first / 4, bits = first % 4 * 8;
      const Ints low = load_ints(tile + at * 64), high = load_ints(tile + (at < last ? at + 1 : at) * 64);
      const Ints four = shift_down(low, bits) | shift_up(high, 32 - bits);
      const Ints mask = repeat(taps - tap < 4 ? (1 << (taps - tap) * 8) - 1 : -1);
      store_ints(to, (four ^ repeat(kSigns)) & mask);
      if (Dot::kBias != 0) Dot::add(sum, repeat(kSigns), Dot::load(to));  // 128 times each
    }
  }
  store_ints(quads, repeat(0) - sum);
}

template <class Dot>
void depthwise_round(const float* x, ptrdiff_t x_stride, int channels, const QuadLine* line, const float* inverse,
                     uint8_t* quads) {
  const Vec by = load(inverse), magic = set(12582912.0f + Dot::kBias);  // 1.5 * 2^23: the low bits are the integer
  const int inside = line->before + line->pixels, all = inside + line->after;
  with_channels(channels, [&](auto read) {
    for (int phase = 0; phase < line->dilation; ++phase) {
      Ints quad = repeat(0);
      const auto push = [&](int at, Vec value) {
        quad = shift_down(quad, 8) | shift_up(bits_of(fma(value, by, magic)), 24);
        store_ints(quads + static_cast<ptrdiff_t>(at) * 64, quad);
      };
      int at = phase;
      for (; at < line->before; at += line->dilation) push(at, set(0.0f));
      for (; at < inside; at += line->dilation) push(at, read(x + (at - line->before) * x_stride));
      for (; at < all; at += line->dilation) push(at, set(0.0f));
    }
  });
}

template <class Dot>
struct DepthwiseInt8 {
  const QuadWindow* window;
  const uint8_t* weights;
  const float* scale;
  int channels;
  Output out;

  template <int R>
  void tile(int row) const {
    Ints acc[R];
    PU_UNROLL
    for (int r = 0; r < R; ++r) acc[r] = load_ints(weights);
    const uint8_t* w = weights + 64;
    for (int line = 0; line < window->count; ++line) {
      const uint8_t* x = window->lines[line] + row * window->row_step;
      for (int i = 0; i < window->quads; ++i, x += window->quad_step, w += 64) {
        const typename Dot::Weights four = Dot::load(w);
        PU_UNROLL
        for (int r = 0; r < R; ++r) Dot::add(acc[r], load_ints(x + r * window->row_step), four);
      }
    }
    Vec y[R][1];
    PU_UNROLL
    for (int r = 0; r < R; ++r) y[r][0] = to_floats(acc[r]) * load(scale);
    store_tile(out, y, row, 0, channels);
  }

  // Rows that do not fill a tile are taken with some before them once more.
  void run(int rows) const {
    constexpr int R = Dot::kRows, kHalf = R / 2;
    int row = 0;
    for (; row + R <= rows; row += R) tile<R>(row);
    if (rows >= R && row + kHalf < rows) {
      tile<R>(rows - R);
    } else if (rows >= kHalf) {
      for (; row < rows; row += kHalf) tile<kHalf>(row + kHalf <= rows ? row : rows - kHalf);
    } else {
      for (; row < rows; ++row) tile<1>(row);
    }
  }
};

template <class Dot>
void depthwise_i8(const QuadWindow* window, int rows, int channels, const uint8_t* weights, const float* scale,
                  const Epilogue* e, float* y, ptrdiff_t y_stride) {
  DepthwiseInt8<Dot>{window, weights, scale, channels, {e, y, y_stride, kActRow}}.run(rows);
}

template <class Dot>
void fill_depthwise_i8(Kernels* kernels) {
  kernels->depthwise_weights = depthwise_weights<Dot>;
  kernels->depthwise_round = depthwise_round<Dot>;
  kernels->depthwise_i8 = depthwise_i8<Dot>;
}

}  // namespace
}  // namespace pocketuni
