// int8 products by AMX: a tile of 16 rows x 64 bytes meets a panel's 16 quads, which lie as its second operand wants
// them, at eight times the rate of VNNI. Nearly everything else of this instruction set is AVX-512's.
#if defined(__x86_64__)
#include <initializer_list>

#include "gemm.h"
#include "int4_avx512vnni.h"

namespace pocketuni {
namespace {

constexpr int kHeight = 16, kTileBytes = 64;
constexpr int kFewest = 4;   // rows: of fewer, reading the weights is what takes time
constexpr int kBlock = 128;  // rows: they stay in L2 with the weights they meet
constexpr int kNearBytes = 1 << 19;
constexpr int kTogether = 4;  // rows that leave at once
constexpr int kAhead = 4096;  // bytes

// What `ldtilecfg` reads.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int height) {
    bytes[tile] = kTileBytes;
    rows[tile] = static_cast<uint8_t>(height);
  }
};

struct TileGemm {
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const float* scales;
  Output out;
  const int32_t* start;  // [rows]: undoes the bias of the weights

  // Tiles 0 .. 3: sums; 4, 5: rows; 6, 7: weights. `count` rows: 16 of them in the first tile, or all.
  static void shape(int count) {
    TileShapes shapes;
    const int first = count < kHeight ? count : kHeight, second = count - first;
    for (int t : {0, 1, 4}) shapes.set(t, first);
    for (int t : {6, 7}) shapes.set(t, kHeight);
    for (int t : {2, 3, 5}) {
      if (second > 0) shapes.set(t, second);
    }
    _tile_loadconfig(&shapes);
  }

  // R tiles of rows by P panels. `sums` holds rows of 16 P.
  template <int R, int P>
  void multiply(int row, int panel, int32_t* sums) const {
    const ptrdiff_t panel_size = static_cast<ptrdiff_t>(k) * kPanel;
    const uint8_t* w = tiles + panel * panel_size;
    const int8_t* a = x->q + row * x->q_stride;
    const int8_t* b = a + kHeight * x->q_stride;
    _tile_zero(0);
    if constexpr (P > 1) _tile_zero(1);
    if constexpr (R > 1) _tile_zero(2);
    if constexpr (R > 1 && P > 1) _tile_zero(3);
    for (int i = 0; i < k; i += kTileBytes, w += kTileBytes * kPanel) {
      _tile_loadd(6, w, kTileBytes);
      _tile_loadd(4, a + i, x->q_stride);
      _tile_dpbsud(0, 4, 6);
      if constexpr (P > 1) {
        _tile_loadd(7, w + panel_size, kTileBytes);
        _tile_dpbsud(1, 4, 7);
      }
      if constexpr (R > 1) {
        _tile_loadd(5, b + i, x->q_stride);
        _tile_dpbsud(2, 5, 6);
      }
      if constexpr (R > 1 && P > 1) _tile_dpbsud(3, 5, 7);
    }
    constexpr int kStride = P * kTileBytes;
    _tile_stored(0, sums, kStride);
    if constexpr (P > 1) _tile_stored(1, sums + kPanel, kStride);
    if constexpr (R > 1) _tile_stored(2, sums + kHeight * P * kPanel, kStride);
    if constexpr (R > 1 && P > 1) _tile_stored(3, sums + kHeight * P * kPanel + kPanel, kStride);
  }

  template <int R, int P>
  PU_NOINLINE void pass_sums(const int32_t* sums, int row, int panel, int cols) const {
    __m512i acc[R][P];
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i first = _mm512_set1_epi32(start[row + r]);
      PU_UNROLL
      for (int p = 0; p < P; ++p) acc[r][p] = _mm512_add_epi32(first, _mm512_load_si512(sums + (r * P + p) * kPanel));
    }
    leave_sums(out, *x, scales, acc, row, panel, cols);
  }

  template <int P>
  void rows_by_panels(int row, int count, int panel, int cols) const {
    alignas(64) int32_t sums[2 * kHeight * P * kPanel];
    if (count > kHeight) {
      multiply<2, P>(row, panel, sums);
    } else {
      multiply<1, P>(row, panel, sums);
    }
    int r = 0;
    for (; r + kTogether <= count; r += kTogether) {
      pass_sums<kTogether, P>(sums + r * P * kPanel, row + r, panel, cols);
    }
    for (; r < count; ++r) pass_sums<1, P>(sums + r * P * kPanel, row + r, panel, cols);
  }

  // A pair of row tiles stays in L1 while weights pass by in the order in which they lie, which prefetchers follow:
  // from memory once, from L2 for the other pairs.
  void run(int rows, int n) const {
    const int pair = 2 * kHeight, at_once = weights_at_once();
    int shaped = 0;
    for (int begin = 0; begin < n; begin += at_once) {
      const int end = begin + at_once < n ? begin + at_once : n;
      for (int row = 0; row < rows; row += pair) {
        const int count = row + pair <= rows ? pair : rows - row;
        if (count != shaped) shape(shaped = count);
        for (int column = begin; column < end; column += 2 * kPanel) {
          if (const int cols = end - column; cols > kPanel) {
            rows_by_panels<2>(row, count, column / kPanel, cols < 2 * kPanel ? cols : 2 * kPanel);
          } else {
            rows_by_panels<1>(row, count, column / kPanel, cols);
          }
        }
      }
    }
  }

  // How many outputs, in whole pairs of panels, have weights that L2 holds.
  int weights_at_once() const {
    const int pairs = kNearBytes / (2 * kPanel * k);
    return 2 * kPanel * (pairs > 1 ? pairs : 1);
  }
};

void gemm_i8(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  if (rows < kFewest || k % kTileBytes != 0) {
    return gemm_i8_avx512vnni(x, rows, k, tiles, scales, n, e, y, y_stride);
  }
  int32_t start[kBlock];
  for (int row = 0; row < rows; row += kBlock) {
    const int count = rows - row < kBlock ? rows - row : kBlock;
    const QuantizedRows block{x->q + row * x->q_stride, x->q_stride, x->scale + row,
                              x->sum + row * (x->q_stride / kGroup)};
    for (int r = 0; r < count; ++r) start[r] = -128 * row_sum(block, r, k);
    Epilogue epilogue = *e;
    if (e->residual != nullptr) epilogue.residual += row * e->residual_stride;
    const Output out{&epilogue, y + row * y_stride, y_stride, act_row_avx512};
    TileGemm{&block, k, tiles, scales, out, start}.run(count, n);
  }
  _tile_release();
}

// CPUs with AMX fetch too little ahead of a row that meets weights from memory.
void gemm_i4(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  if (rows != 1) return gemm_i4_avx512vnni(x, rows, k, tiles, scales, n, e, y, y_stride);
  sweep<Int4Gemm<kAhead>, 1, 1>({x, k, tiles, scales, {e, y, y_stride, act_row_avx512}}, rows, n);
}

}  // namespace

void fill_gemm_amx(Kernels* kernels) {
  kernels->gemm_i8 = gemm_i8;
  kernels->gemm_i4 = gemm_i4;
}

}  // namespace pocketuni
#endif
