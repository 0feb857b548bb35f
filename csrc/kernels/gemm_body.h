// Products with float weights, over the Vec, the leave_body.h and the kActRow that were included before.
#pragma once

namespace pocketuni {
namespace {

template <class W>
struct FloatGemm {
  static constexpr int kRows = kTileRows, kPanels = kTileVecs, kGemvPanels = kRowVecs, kAheadRows = 2;
  const float* x;
  ptrdiff_t x_stride;
  int k;
  const W* tiles;
  Output out;
  ptrdiff_t ahead;

  template <int R, int P>
  void tile(int row, int panel, int cols) const {
    const ptrdiff_t panel_size = static_cast<ptrdiff_t>(k) * kPanel;
    const W* w = tiles + panel * panel_size;
    Ahead fetch = fetch_ahead<FloatGemm, P>(w, panel_size * sizeof(W), row, ahead, k);
    const float* a = x + row * x_stride;
    Vec acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = set(0.0f);
    for (ptrdiff_t i = 0; i < k; ++i) {
      Vec weights[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) weights[p] = load_weights(w + p * panel_size + i * kPanel);
      if constexpr (R > 1) fetch.step();
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

template <class W>
void gemm_floats(const float* x, ptrdiff_t x_stride, int rows, int k, const W* tiles, int n, const Epilogue* e,
                 float* y, ptrdiff_t y_stride) {
  const ptrdiff_t ahead = bytes_ahead<FloatGemm<W>>(rows, static_cast<ptrdiff_t>(k) * kPanel * sizeof(W));
  for_each_tile(FloatGemm<W>{x, x_stride, k, tiles, {e, y, y_stride, kActRow}, ahead}, rows, n);
}

void fill_float_gemm(Kernels* kernels) {
  kernels->gemm_f32 = gemm_floats<float>;
  kernels->gemm_f16 = gemm_floats<uint16_t>;
}

}  // namespace
}  // namespace pocketuni
