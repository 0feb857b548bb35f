// Products with float weights, over the Vec, the leave_body.h and the kActRow that were included before.
#pragma once

namespace pocketuni {
namespace {

template <class W>
struct FloatGemm {
  static constexpr int kRows = kTileRows, kPanels = kTileVecs, kGemvPanels = kRowVecs;
  const float* x;
  ptrdiff_t x_stride;
  int k;
  const W* tiles;
  Output out;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    const ptrdiff_t panel_size = static_cast<ptrdiff_t>(k) * kPanel;
    const W* w = tiles + panel * panel_size;
    const float* a = x + row * x_stride;
    Vec acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = set(0.0f);
    for (ptrdiff_t i = 0; i < k; ++i) {
      Vec weights[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) weights[p] = load_weights(w + p * panel_size + i * kPanel);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const Vec value = set(a[r * x_stride + i]);
        PU_UNROLL
        for (int p = 0; p < P; ++p) acc[r][p] = fma(value, weights[p], acc[r][p]);
      }
    }
    store_tile(out, acc, row, panel, cols);
  }
};

void gemm_f32(const float* x, ptrdiff_t x_stride, int rows, int k, const float* tiles, int n, const Epilogue* e,
              float* y, ptrdiff_t y_stride) {
  for_each_tile(FloatGemm<float>{x, x_stride, k, tiles, {e, y, y_stride, kActRow}}, rows, n);
}

void gemm_f16(const float* x, ptrdiff_t x_stride, int rows, int k, const uint16_t* tiles, int n, const Epilogue* e,
              float* y, ptrdiff_t y_stride) {
  for_each_tile(FloatGemm<uint16_t>{x, x_stride, k, tiles, {e, y, y_stride, kActRow}}, rows, n);
}

void fill_float_gemm(Kernels* kernels) {
  kernels->gemm_f32 = gemm_f32;
  kernels->gemm_f16 = gemm_f16;
}

}  // namespace
}  // namespace pocketuni
