// How weights enter a tile of Vecs, and how it leaves its registers, over the Vec and the gemm_tile.h that were
// included before.
#pragma once
#include <math.h>

namespace pocketuni {
namespace {

inline Vec load_weights(const float* w) { return load(w); }
inline Vec load_weights(const uint16_t* w) { return from_f16(w); }

/// Bias, relu and residual of whole panels in registers, then into memory.
template <int R, int P>
PU_INLINE void leave(const Output& out, Vec (&acc)[R][P], int row, int panel) {
  const Epilogue& e = *out.epilogue;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel) * kPanel;
  if (e.bias != nullptr) {
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const Vec bias = load(e.bias + column + p * kPanel);
      PU_UNROLL
      for (int r = 0; r < R; ++r) acc[r][p] = acc[r][p] + bias;
    }
  }
  if (e.activation == Activation::kRelu) {
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = max(set(0.0f), acc[i / P][i % P]);
  }
  if (e.residual != nullptr) {
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) {
      const float* residual = e.residual + (row + i / P) * e.residual_stride + column + i % P * kPanel;
      acc[i / P][i % P] = acc[i / P][i % P] + load(residual);
    }
  }
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) {
    store(out.y + (row + i / P) * out.y_stride + column + i % P * kPanel, acc[i / P][i % P]);
  }
}

// The whole epilogue of a tile acc[rows][panels] whose activation is a curve, or whose last panel is partial. Not a
// template: that takes so long that loops over the shape cost nothing.
constexpr int kMostTileVecs = 32;
PU_NOINLINE void write_slowly(const Output& out, const Vec* acc, int rows, int panels, int row, int panel, int cols) {
  const Epilogue& e = *out.epilogue;
  const ptrdiff_t column = static_cast<ptrdiff_t>(panel) * kPanel;
  const auto read = [](const float* from, int left) {
    return left >= kPanel ? load(from) : load_part(from, left, set(0.0f));
  };
  const Vec least = set(e.activation == Activation::kRelu ? 0.0f : -INFINITY);
  float buffer[kMostTileVecs * kPanel];
  for (int p = 0; p < panels; ++p) {
    const Vec bias = e.bias == nullptr ? set(-0.0f) : read(e.bias + column + p * kPanel, cols - p * kPanel);
    for (int i = p; i < rows * panels; i += panels) store(buffer + i * kPanel, max(least, acc[i] + bias));
  }
  if (out.curved()) out.act_row(e.activation, buffer, rows * panels * kPanel);
  for (int i = 0; i < rows * panels; ++i) {
    const int r = row + i / panels, p = i % panels, left = cols - p * kPanel;
    float* y = out.y + r * out.y_stride + column + p * kPanel;
    Vec value = load(buffer + i * kPanel);
    if (e.residual != nullptr) value = value + read(e.residual + r * e.residual_stride + column + p * kPanel, left);
    left >= kPanel ? store(y, value) : store_part(y, value, left);
  }
}

// A copy goes to the slow way out, so that the accumulators themselves stay in registers.
template <int R, int P>
PU_INLINE void store_tile(const Output& out, Vec (&acc)[R][P], int row, int panel, int cols) {
  if (!out.curved() && cols == P * kPanel) return leave(out, acc, row, panel);
  Vec copy[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) copy[i / P][i % P] = acc[i / P][i % P];
  static_assert(R * P <= kMostTileVecs, "the buffer of write_slowly is too small");
  write_slowly(out, copy[0], R, P, row, panel, cols);
}

}  // namespace
}  // namespace pocketuni
