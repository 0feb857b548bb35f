// How a tile of Vecs leaves its registers, over the Vec and the gemm_tile.h that were included before.
#pragma once

namespace pocketuni {
namespace {

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
PU_INLINE void store_tile(const Output& out, Vec (&acc)[R][P], int row, int panel, int cols) {
  if (!out.curved()) return leave(out, acc, row, panel, cols);
  Vec copy[R][P];
  PU_UNROLL
  for (int i = 0; i < R * P; ++i) copy[i / P][i % P] = acc[i / P][i % P];
  static_assert(R * P <= kMostTileVecs, "the buffer of write_curved is too small");
  write_curved(out, copy[0], R, P, row, panel, cols);
}

}  // namespace
}  // namespace pocketuni
