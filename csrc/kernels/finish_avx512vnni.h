// What the AVX-512 products share: the dot product of bytes, and how a tile leaves its registers. Unnamed namespace:
// see vec_avx512.h.
#pragma once
#include "dot_avx512vnni.h"
#include "gemm_tile.h"
#include "nn.h"

namespace pocketuni {
namespace {

/// Bias, relu and residual in registers, then into memory: all of an epilogue but activations that are curves. Written
/// into each tile, as calling for it costs 3 % of a product over 384 and a third of one over 16.
template <int R, int P>
PU_INLINE void leave(const Output& out, __m512 (&acc)[R][P], int row, int panel, int cols) {
  const Epilogue& e = *out.epilogue;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel) * kPanel;
  const __mmask16 mask = first_lanes(cols - (P - 1) * kPanel);  // of the last panel; the others are whole
  const auto read = [mask](const float* from, int p) {
    return p == P - 1 ? _mm512_maskz_loadu_ps(mask, from + p * kPanel) : _mm512_loadu_ps(from + p * kPanel);
  };
  if (e.bias != nullptr) {
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const __m512 bias = read(e.bias + column, p);
      PU_UNROLL
      for (int r = 0; r < R; ++r) acc[r][p] = _mm512_add_ps(acc[r][p], bias);
    }
  }
  if (e.activation == Activation::kRelu) {
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_max_ps(_mm512_setzero_ps(), acc[i / P][i % P]);
  }
  if (e.residual != nullptr) {
    const float* residual = e.residual + row * e.residual_stride + column;
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) {
      acc[i / P][i % P] = _mm512_add_ps(acc[i / P][i % P], read(residual + i / P * e.residual_stride, i % P));
    }
  }
  float* y = out.y + row * out.y_stride + column;
  if (cols >= P * kPanel) {  // what a masked store wrote cannot be read again before it is in the cache
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) _mm512_storeu_ps(y + i / P * out.y_stride + i % P * kPanel, acc[i / P][i % P]);
    return;
  }
  PU_UNROLL
  for (int r = 0; r < R; ++r, y += out.y_stride) {
    PU_UNROLL
    for (int p = 0; p + 1 < P; ++p) _mm512_storeu_ps(y + p * kPanel, acc[r][p]);
    _mm512_mask_storeu_ps(y + (P - 1) * kPanel, mask, acc[r][P - 1]);
  }
}

/// The whole epilogue of a tile acc[rows][panels] whose activation is a curve. Not a template: the curve takes so long
/// that loops cost nothing, and a copy for each shape of a tile would be the larger part of some files.
PU_NOINLINE void write_curved(const Output& out, __m512* acc, int rows, int panels, int row, int panel, int cols) {
  const Epilogue& e = *out.epilogue;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel) * kPanel;
  for (int p = 0; e.bias != nullptr && p < panels; ++p) {
    const __m512 bias = _mm512_maskz_loadu_ps(first_lanes(cols - p * kPanel), e.bias + column + p * kPanel);
    for (int r = 0; r < rows; ++r) acc[r * panels + p] = _mm512_add_ps(acc[r * panels + p], bias);
  }
  out.act_row(e.activation, reinterpret_cast<float*>(acc), rows * panels * kPanel);
  for (int r = 0; r < rows; ++r) {
    float* y = out.y + (row + r) * out.y_stride + column;
    const float* residual = e.residual == nullptr ? nullptr : e.residual + (row + r) * e.residual_stride + column;
    for (int p = 0; p < panels; ++p, y += kPanel) {
      const __mmask16 mask = first_lanes(cols - p * kPanel);
      __m512 value = acc[r * panels + p];
      if (residual != nullptr) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, residual + p * kPanel));
      if (cols - p * kPanel >= kPanel) {  // see leave()
        _mm512_storeu_ps(y, value);
      } else {
        _mm512_mask_storeu_ps(y, mask, value);
      }
    }
  }
}

/// The way out of a tile for any epilogue. A copy goes to the one with a curve, so that the accumulators themselves
/// stay in registers.
template <int R, int P>
PU_INLINE void store_tile(const Output& out, __m512 (&acc)[R][P], int row, int panel, int cols) {
  if (!out.curved()) return leave(out, acc, row, panel, cols);
  __m512 copy[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) copy[i / P][i % P] = acc[i / P][i % P];
  write_curved(out, copy[0], R, P, row, panel, cols);
}

/// The same by a call, where much is computed for each tile.
template <int R, int P>
PU_NOINLINE void write_tile(const Output& out, const __m512 (&from)[R][P], int row, int panel, int cols) {
  __m512 acc[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = from[i / P][i % P];
  store_tile(out, acc, row, panel, cols);
}
template <int R, int P>
PU_INLINE void pass_tile(const Output& out, const __m512 (&acc)[R][P], int row, int panel, int cols) {
  __m512 copy[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) copy[i / P][i % P] = acc[i / P][i % P];
  write_tile(out, copy, row, panel, cols);
}

/// The way out of a tile of int8 products, sums of integers so far.
template <int R, int P>
PU_INLINE void leave_sums(const Output& out, const QuantizedRows& x, const float* scales, __m512i (&sums)[R][P],
                          int row, int panel, int cols) {
  __m512 y[R][P];
  PU_UNROLL
  for (int p = 0; p < P; ++p) {
    const __m512 scale = _mm512_loadu_ps(scales + (panel + p) * kPanel);
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      y[r][p] = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][p]), scale), _mm512_set1_ps(x.scale[row + r]));
    }
  }
  if (!out.curved()) return leave(out, y, row, panel, cols);
  if (out.epilogue->residual != nullptr) return store_tile(out, y, row, panel, cols);
  leave(out, y, row, panel, cols);
  float* to = out.y + row * out.y_stride + static_cast<ptrdiff_t>(panel) * kPanel;
  for (int r = 0; r < R; ++r) out.act_row(out.epilogue->activation, to + r * out.y_stride, cols);
}

}  // namespace
}  // namespace pocketuni
