// Convolutions over time in the plainest form. Every ISA gives these results bit for bit (but for the activations), so
// the order of the floating-point operations is part of the contract.
#include <cmath>
#include <cstring>

#include "nn.h"

namespace pocketuni {
namespace {

// The row of x that a tap reads, -1 beside a line, or -2 where the whole line is outside.
ptrdiff_t source_row(const ConvWindow& w, int row, int tap) {
  const ptrdiff_t line = w.line(tap / w.taps);
  return line < 0 ? -2 : w.row(line, row, tap % w.taps);
}

void store(float value, int r, int j, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  if (e->bias != nullptr) value += e->bias[j];
  if (e->activation != Activation::kNone) act_row_ref(e->activation, &value, 1);
  if (e->residual != nullptr) value += e->residual[r * e->residual_stride + j];
  y[r * y_stride + j] = value;
}

// `weight(j, k)`: of output j and input k = tap * channels + channel.
template <class F>
void conv_float(const float* x, ptrdiff_t x_stride, const ConvWindow& w, int rows, int channels, F weight, int n,
                const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for (int r = 0; r < rows; ++r) {
    for (int j = 0; j < n; ++j) {
      float acc = 0.0f;
      for (int tap = 0; tap < w.all_taps(); ++tap) {
        const ptrdiff_t at = source_row(w, r, tap);
        for (int c = 0; c < channels && at != -2; ++c) {
          acc = std::fma(at < 0 ? 0.0f : x[at * x_stride + c], weight(j, tap * channels + c), acc);
        }
      }
      store(acc, r, j, e, y, y_stride);
    }
  }
}

ptrdiff_t tile_index(int j, int k, ptrdiff_t inputs) { return (j / kPanel * inputs + k) * kPanel + j % kPanel; }

void conv_f32(const float* x, ptrdiff_t x_stride, const ConvWindow* w, int rows, int channels, const float* tiles,
              int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const ptrdiff_t inputs = static_cast<ptrdiff_t>(w->all_taps()) * channels;
  const auto weight = [&](int j, int k) { return tiles[tile_index(j, k, inputs)]; };
  conv_float(x, x_stride, *w, rows, channels, weight, n, e, y, y_stride);
}

void conv_f16(const float* x, ptrdiff_t x_stride, const ConvWindow* w, int rows, int channels, const uint16_t* tiles,
              int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const ptrdiff_t inputs = static_cast<ptrdiff_t>(w->all_taps()) * channels;
  const auto weight = [&](int j, int k) {
    float value;
    f16_to_f32_ref(&tiles[tile_index(j, k, inputs)], &value, 1);
    return value;
  };
  conv_float(x, x_stride, *w, rows, channels, weight, n, e, y, y_stride);
}

void conv_i8(const QuantizedRows* x, const ConvWindow* w, int rows, int channels, const uint8_t* tiles,
             const float* scales, int n, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const ptrdiff_t inputs = static_cast<ptrdiff_t>(w->all_taps()) * channels;
  for (int r = 0; r < rows; ++r) {
    for (int j = 0; j < n; ++j) {
      const uint8_t* panel = tiles + j / kPanel * (inputs / 4) * 64 + j % kPanel * 4;
      float acc = 0.0f;
      for (int tap = 0; tap < w->all_taps(); ++tap) {
        const ptrdiff_t at = source_row(*w, r, tap);
        if (at == -2) continue;
        int32_t sum = 0;
        for (int c = 0; c < channels && at >= 0; ++c) {
          const ptrdiff_t k = static_cast<ptrdiff_t>(tap) * channels + c;
          sum += (panel[k / 4 * 64 + k % 4] - 128) * x->q[at * x->q_stride + c];
        }
        acc = std::fma(static_cast<float>(sum), at < 0 ? 0.0f : x->scale[at], acc);
      }
      store(acc * scales[j], r, j, e, y, y_stride);
    }
  }
}

void depthwise_f32(const float* x, ptrdiff_t x_stride, const ConvWindow* w, int rows, int channels,
                   const float* weights, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < channels; ++c) {
      float acc = 0.0f;
      for (int tap = 0; tap < w->all_taps(); ++tap) {
        const ptrdiff_t at = source_row(*w, r, tap);
        if (at == -2) continue;
        acc = std::fma(at < 0 ? 0.0f : x[at * x_stride + c], weights[tap * channels + c], acc);
      }
      store(acc, r, c, e, y, y_stride);
    }
  }
}

void depthwise_scales(const float* x, ptrdiff_t x_stride, ptrdiff_t pixels, int channels, const float* scales,
                      DepthwiseScales* to) {
  *to = {};
  for (int c = 0; c < channels; ++c) {
    float max = 0.0f;
    for (ptrdiff_t i = 0; i < pixels && std::isfinite(max); ++i) {
      const float size = std::fabs(x[i * x_stride + c]);
      if (!(size <= max)) max = size;
    }
    if (!std::isfinite(max)) {
      to->scale[c] = NAN;
    } else if (max >= kSmallestMax) {
      to->scale[c] = max / 127.0f * scales[c];
      to->inverse[c] = 127.0f / max;
    }
  }
}

// Here sums start from 0, and a quad is four signed bytes.
void depthwise_weights(const uint8_t* tile, int lines, int taps, uint8_t* quads) {
  std::memset(quads, 0, 64);
  for (int line = 0; line < lines; ++line) {
    for (int tap = 0; tap < (taps + 3) / 4 * 4; ++tap) {
      const int from = line * taps + tap, to = line * ((taps + 3) / 4 * 4) + tap;
      for (int c = 0; c < kPanel; ++c) {
        const uint8_t w = tap < taps ? tile[from / 4 * 64 + c * 4 + from % 4] : 128;
        quads[64 + to / 4 * 64 + c * 4 + to % 4] = static_cast<uint8_t>(w - 128);
      }
    }
  }
}

void depthwise_round(const float* x, ptrdiff_t x_stride, int channels, const QuadLine* line, const float* inverse,
                     uint8_t* quads) {
  constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23: floats there are integers
  for (int i = 0; i < line->before + line->pixels + line->after; ++i) {
    for (int c = 0; c < kPanel; ++c) {
      for (int j = 0; j < 4; ++j, ++quads) {
        const int pixel = i - line->before - (3 - j) * line->dilation;
        const bool inside = pixel >= 0 && pixel < line->pixels && c < channels && inverse[c] != 0.0f;
        const float whole = inside ? std::fma(x[pixel * x_stride + c], inverse[c], kWhole) - kWhole : 0.0f;
        *quads = static_cast<uint8_t>(static_cast<int>(whole));
      }
    }
  }
}

void depthwise_i8(const QuadWindow* window, int rows, int channels, const uint8_t* weights, const float* scale,
                  const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const auto signed_byte = [](uint8_t byte) { return static_cast<int8_t>(byte); };
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < channels; ++c) {
      const uint8_t* w = weights + 64 + c * 4;
      int32_t sum = 0;
      for (int line = 0; line < window->count; ++line) {
        for (int i = 0; i < window->quads; ++i, w += 64) {
          const uint8_t* x = window->lines[line] + r * window->row_step + i * window->quad_step + c * 4;
          for (int j = 0; j < 4; ++j) sum += signed_byte(x[j]) * signed_byte(w[j]);
        }
      }
      store(static_cast<float>(sum) * scale[c], r, c, e, y, y_stride);
    }
  }
}

void max_pool_f32(const float* x, ptrdiff_t x_stride, const ConvWindow* w, int rows, int channels, float* y,
                  ptrdiff_t y_stride) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < channels; ++c) {
      float largest = -INFINITY;
      for (int tap = 0; tap < w->all_taps(); ++tap) {
        const ptrdiff_t at = source_row(*w, r, tap);
        if (at == -2) continue;
        const float value = at < 0 ? static_cast<const float*>(w->zeros)[c] : x[at * x_stride + c];
        if (!(value <= largest) && !std::isnan(largest)) largest = value;
      }
      y[r * y_stride + c] = largest;
    }
  }
}

}  // namespace

void fill_conv_ref(Kernels* kernels) {
  kernels->conv_f32 = conv_f32;
  kernels->conv_f16 = conv_f16;
  kernels->conv_i8 = conv_i8;
  kernels->depthwise_f32 = depthwise_f32;
  kernels->depthwise_scales = depthwise_scales;
  kernels->depthwise_weights = depthwise_weights;
  kernels->depthwise_round = depthwise_round;
  kernels->depthwise_i8 = depthwise_i8;
  kernels->max_pool_f32 = max_pool_f32;
}

}  // namespace pocketuni
