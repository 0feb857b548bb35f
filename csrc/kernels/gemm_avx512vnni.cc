// AVX-512 with VNNI. A panel is one register of outputs; tiles of 6 rows x 4 panels keep 24 accumulators, 4 weights and
// a broadcast in the 32 registers and need 10 loads for 24 products (two of each a cycle).
#if defined(__x86_64__)
#include "gemm.h"
#include "int4_avx512vnni.h"

namespace pocketuni {
namespace {

inline __m512 load_weights(const float* w) { return _mm512_loadu_ps(w); }
inline __m512 load_weights(const uint16_t* w) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
}

constexpr ptrdiff_t kFarBytes = 1 << 19;  // weights of more are seldom in L2

template <class W>
struct FloatGemm {
  // Converting a half takes two slots of the ports that multiply, so taller tiles pay there.
  static constexpr int kRows = sizeof(W) == 2 ? 8 : 6, kPanels = sizeof(W) == 2 ? 3 : 4;
  static constexpr int kGemvPanels = 8;  // 8 chains = fma latency 4 x 2 a cycle
  static constexpr int kAheadRows = sizeof(W) == 2 ? 2 : 7;
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
    __m512 acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_setzero_ps();
    for (int i = 0; i < k; ++i) {
      __m512 weights[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) weights[p] = load_weights(w + p * panel_size + static_cast<ptrdiff_t>(i) * kPanel);
      if constexpr (R > 1) fetch.step();
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512 value = _mm512_set1_ps(a[r * x_stride + i]);
        PU_UNROLL
        for (int p = 0; p < P; ++p) acc[r][p] = _mm512_fmadd_ps(value, weights[p], acc[r][p]);
      }
    }
    if constexpr (sizeof(W) == 2) {
      pass_tile(out, acc, row, panel, cols);
    } else {
      store_tile(out, acc, row, panel, cols);
    }
  }
};

// Of tiles over so few inputs, the way out is what takes time, which 6 x 4 of them leave with no registers to spare.
constexpr int kShort = 128;

struct Int8Gemm {
  static constexpr int kRows = 6, kPanels = 4, kGemvPanels = 8, kAheadRows = 7;
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const float* scales;
  Output out;
  const int32_t* start;  // [rows]: undoes the bias of the weights
  ptrdiff_t ahead;

  // One row by one panel: a chain is as long as the product, so there are eight, for integers without a difference.
  // Returns how many quads they took.
  static ptrdiff_t add_chains(const uint8_t* w, const int8_t* a, ptrdiff_t quads, __m512i* acc) {
    constexpr int kChains = 8;
    __m512i chain[kChains];
    PU_UNROLL
    for (int c = 0; c < kChains; ++c) chain[c] = _mm512_setzero_si512();
    ptrdiff_t i = 0;
    for (; i + kChains <= quads; i += kChains) {
      PU_UNROLL
      for (int c = 0; c < kChains; ++c) {
        add_dot(chain[c], _mm512_loadu_si512(w + (i + c) * 64), broadcast_quad(a + (i + c) * 4));
      }
    }
    PU_UNROLL
    for (int c = 0; c < kChains; ++c) *acc = _mm512_add_epi32(*acc, chain[c]);
    return i;
  }

  template <int R, int P>
  PU_NOINLINE void tile(int row, int panel, int cols) const {
    const ptrdiff_t quads = (k + 3) / 4, panel_size = quads * 64;
    const uint8_t* w = tiles + panel * panel_size;
    const ptrdiff_t q_stride = x->q_stride;
    const int8_t* a = x->q + row * q_stride;
    __m512i acc[R][P];
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i first = _mm512_set1_epi32(start[row + r]);
      PU_UNROLL
      for (int p = 0; p < P; ++p) acc[r][p] = first;
    }
    ptrdiff_t i = 0;
    if constexpr (R == 1 && P == 1) i = add_chains(w, a, quads, &acc[0][0]);
    Ahead fetch = fetch_ahead<Int8Gemm, P>(w, panel_size, row, ahead, quads);
    for (; i < quads; ++i) {
      __m512i weights[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) weights[p] = _mm512_loadu_si512(w + p * panel_size + i * 64);
      if constexpr (R > 1) fetch.step();
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512i value = broadcast_quad(a + r * q_stride + i * 4);
        PU_UNROLL
        for (int p = 0; p < P; ++p) add_dot(acc[r][p], weights[p], value);
      }
    }
    leave_sums(out, *x, scales, acc, row, panel, cols);
  }
};

template <class W>
void gemm_floats(const float* x, ptrdiff_t x_stride, int rows, int k, const W* tiles, int n, const Epilogue* e,
                 float* y, ptrdiff_t y_stride) {
  using Gemm = FloatGemm<W>;
  const ptrdiff_t panel_bytes = static_cast<ptrdiff_t>(k) * kPanel * sizeof(W);
  Gemm op{x, x_stride, k, tiles, {e, y, y_stride, act_row_avx512}, bytes_ahead<Gemm>(rows, panel_bytes)};
  if (sizeof(W) == 4 && rows <= 3 * Gemm::kRows) {  // L2 has no room for groups of four that are passed by so soon
    if (op.ahead > 0 && panel_bytes / kPanel * n > kFarBytes) return sweep<Gemm, Gemm::kRows, 2>(op, rows, n);
    op.ahead = 0;
  }
  for_each_tile(op, rows, n);
}

}  // namespace

void gemm_i8_avx512vnni(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
                        const Epilogue* e, float* y, ptrdiff_t y_stride) {
  int32_t start[kBlockRows];
  for_row_blocks(*x, rows, *e, y, y_stride, act_row_avx512, [&](const QuantizedRows& block, int count, Output out) {
    for (int r = 0; r < count; ++r) start[r] = -128 * row_sum(block, r, k);
    const ptrdiff_t ahead = bytes_ahead<Int8Gemm>(count, (k + 3) / 4 * 64);
    const Int8Gemm op{&block, k, tiles, scales, out, start, ahead};
    if (rows == 1 && static_cast<ptrdiff_t>(n) * k > kFarBytes) {
      // Read from first to last, they come half as fast again as in eight panels, which the prefetcher sees as eight
      // streams.
      sweep<Int8Gemm, 1, 1>(op, 1, n);
    } else if (count > 1 && k <= kShort) {
      sweep<Int8Gemm, Int8Gemm::kRows, 2>(op, count, n);
    } else {
      for_each_tile(op, count, n);
    }
  });
}

void gemm_i4_avx512vnni(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
                        const Epilogue* e, float* y, ptrdiff_t y_stride) {
  for_each_tile(Int4Gemm<0>{x, k, tiles, scales, {e, y, y_stride, act_row_avx512}}, rows, n);
}

void fill_gemm_avx512vnni(Kernels* kernels) {
  fill_quantize_avx512vnni(kernels);
  fill_conv_avx512vnni(kernels);
  fill_depthwise_avx512vnni(kernels);
  kernels->gemm_f32 = gemm_floats<float>;
  kernels->gemm_f16 = gemm_floats<uint16_t>;
  kernels->gemm_i8 = gemm_i8_avx512vnni;
  kernels->gemm_i4 = gemm_i4_avx512vnni;
}

}  // namespace pocketuni
#endif
