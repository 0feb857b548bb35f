// Matrix products in the plainest form. Every ISA gives these results bit for bit (but for the activations), which is
// why the order of the floating-point operations here is part of the contract.
#include <cmath>
#include <cstring>

#include "gemm.h"
#include "nn.h"

namespace pocketuni {
namespace {

float half_to_float(uint16_t h) {
  const uint32_t exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;
  float value;
  if (exponent == 0) {
    value = static_cast<float>(mantissa) * 0x1p-24f;
  } else {
    const uint32_t bits = exponent == 31 ? 0x7f800000u | mantissa << 13 : (exponent + 112) << 23 | mantissa << 13;
    std::memcpy(&value, &bits, sizeof value);
  }
  return (h & 0x8000u) != 0 ? -value : value;
}

uint32_t abs_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffffu;
}

// Absolute values are compared as integers: the order is that of floats, and NaN comes out above infinity.
void quantize_row(const float* x, int k, int8_t* q, ptrdiff_t q_stride, float* scale, int32_t* sum) {
  uint32_t max_bits = 0;
  for (int i = 0; i < k; ++i) max_bits = abs_bits(x[i]) > max_bits ? abs_bits(x[i]) : max_bits;
  float max;
  std::memcpy(&max, &max_bits, sizeof max);
  std::memset(q, 0, static_cast<size_t>(q_stride));
  for (ptrdiff_t g = 0; g < q_stride / kGroup; ++g) sum[g] = 0;
  *scale = max_bits >= 0x7f800000u ? NAN : 0.0f;
  if (max_bits >= 0x7f800000u || max < kSmallestMax) return;
  *scale = max / 127.0f;
  const float inverse = 127.0f / max;
  for (int i = 0; i < k; ++i) {
    q[i] = static_cast<int8_t>(std::lrint(x[i] * inverse));  // half to even, as cvtps does
    sum[i / kGroup] += q[i];
  }
}

void quantize_rows(const float* x, ptrdiff_t x_stride, int rows, int k, int8_t* q, ptrdiff_t q_stride, float* scale,
                   int32_t* sum) {
  for (int r = 0; r < rows; ++r) {
    quantize_row(x + r * x_stride, k, q + r * q_stride, q_stride, scale + r, sum + r * (q_stride / kGroup));
  }
}

void store(float value, int r, int j, const Epilogue* e, float* y, ptrdiff_t y_stride) {
  if (e->bias != nullptr) value += e->bias[j];
  if (e->activation != Activation::kNone) act_row_ref(e->activation, &value, 1);
  if (e->residual != nullptr) value += e->residual[r * e->residual_stride + j];
  y[r * y_stride + j] = value;
}

float to_float(float w) { return w; }
float to_float(uint16_t w) { return half_to_float(w); }

template <class W>
void gemm_float(const float* x, ptrdiff_t x_stride, int rows, int k, const W* tiles, int n, const Epilogue* e, float* y,
                ptrdiff_t y_stride) {
  for (int r = 0; r < rows; ++r) {
    for (int j = 0; j < n; ++j) {
      const W* w = tiles + static_cast<ptrdiff_t>(j / kPanel) * k * kPanel + j % kPanel;
      float acc = 0.0f;
      for (int i = 0; i < k; ++i)
        acc = std::fma(x[r * x_stride + i], to_float(w[static_cast<ptrdiff_t>(i) * kPanel]), acc);
      store(acc, r, j, e, y, y_stride);
    }
  }
}

void gemm_f32(const float* x, ptrdiff_t x_stride, int rows, int k, const float* tiles, int n, const Epilogue* e,
              float* y, ptrdiff_t y_stride) {
  gemm_float(x, x_stride, rows, k, tiles, n, e, y, y_stride);
}

void gemm_f16(const float* x, ptrdiff_t x_stride, int rows, int k, const uint16_t* tiles, int n, const Epilogue* e,
              float* y, ptrdiff_t y_stride) {
  gemm_float(x, x_stride, rows, k, tiles, n, e, y, y_stride);
}

void gemm_i8(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const ptrdiff_t quads = (k + 3) / 4;
  for (int r = 0; r < rows; ++r) {
    const int8_t* q = x->q + r * x->q_stride;
    for (int j = 0; j < n; ++j) {
      const uint8_t* w = tiles + (j / kPanel) * quads * 64 + j % kPanel * 4;
      int32_t acc = 0;
      for (int i = 0; i < k; ++i) acc += (w[i / 4 * 64 + i % 4] - 128) * q[i];
      store(static_cast<float>(acc) * scales[j] * x->scale[r], r, j, e, y, y_stride);
    }
  }
}

void gemm_i4(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  const ptrdiff_t groups = (k + kGroup - 1) / kGroup;
  for (int r = 0; r < rows; ++r) {
    const int8_t* q = x->q + r * x->q_stride;
    for (int j = 0; j < n; ++j) {
      float acc = 0.0f;
      for (ptrdiff_t g = 0; g < groups; ++g) {
        const ptrdiff_t block = (j / kPanel) * groups + g;
        const uint8_t* w = tiles + block * 256 + j % kPanel * 4;
        int32_t isum = 0;
        for (int i = 0; i < 16; ++i) {
          const int byte = w[i / 4 * 64 + i % 4];
          isum += ((byte & 15) - 8) * q[g * kGroup + i] + ((byte >> 4) - 8) * q[g * kGroup + 16 + i];
        }
        acc = std::fma(static_cast<float>(isum), half_to_float(scales[block * kPanel + j % kPanel]), acc);
      }
      store(acc * x->scale[r], r, j, e, y, y_stride);
    }
  }
}

}  // namespace

void fill_gemm_ref(Kernels* kernels) {
  kernels->quantize_rows = quantize_rows;
  kernels->gemm_f32 = gemm_f32;
  kernels->gemm_f16 = gemm_f16;
  kernels->gemm_i8 = gemm_i8;
  kernels->gemm_i4 = gemm_i4;
}

}  // namespace pocketuni
