// Convolutions over time in the plainest form. Every ISA gives these results bit for bit (but for the activations), so
// the order of the floating-point operations is part of the contract.
#include <cmath>

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
  kernels->max_pool_f32 = max_pool_f32;
}

}  // namespace pocketuni
