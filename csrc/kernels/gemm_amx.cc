// int8 products by AMX: a tile of 16 rows x 64 bytes meets a panel's 16 quads, which lie as its second operand wants
// them, at eight times the rate of VNNI. Nearly everything else of this instruction set is AVX-512's.
#if defined(__x86_64__)
#include <initializer_list>

#include "gemm.h"
#include "int4_avx512vnni.h"

namespace pocketuni {
namespace {

constexpr int kHeight = 16, kTileBytes = 64;
constexpr int kFewest = 4;  // rows: of fewer, reading the weights is what takes time
constexpr int kFewestInt4 = 10;
constexpr int kNearBytes = 1 << 19;
constexpr int kTogether = 4;         // rows that leave at once
constexpr int kAhead = 4096;         // bytes
constexpr int kFewestFar = 1 << 17;  // bytes of weights, of one part of them, that may lie in memory

// What `ldtilecfg` reads.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int height, int width = kTileBytes) {
    bytes[tile] = static_cast<uint16_t>(width);
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
    const int pairs = kNearBytes / (2 * kPanel) / k;
    return 2 * kPanel * (pairs > 1 ? pairs : 1);
  }
};

void gemm_i8(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  if (rows < kFewest || k % kTileBytes != 0) {
    return gemm_i8_avx512vnni(x, rows, k, tiles, scales, n, e, y, y_stride);
  }
  int32_t start[kBlockRows];
  for_row_blocks(*x, rows, *e, y, y_stride, act_row_avx512, [&](const QuantizedRows& block, int count, Output out) {
    for (int r = 0; r < count; ++r) start[r] = -128 * row_sum(block, r, k);
    TileGemm{&block, k, tiles, scales, out, start}.run(count, n);
  });
  _tile_release();
}

// Weights of int4: tiles are half as deep, since each group of 32 inputs has its scale. Groups of a panel are unpacked
// some at a time, for all rows of a block.
struct TileInt4 {
  static constexpr int kGroups = 32;  // unpacked at once: 16 KiB
  static constexpr int kDepth = 8;    // quads of a group
  const QuantizedRows* x;
  int k;
  const uint8_t* tiles;
  const uint16_t* scales;
  Output out;

  // Tiles 0 .. 3: sums of a group each; 4: rows; 6: weights.
  static void shape(int count) {
    TileShapes shapes;
    for (int t : {0, 1, 2, 3}) shapes.set(t, count);
    shapes.set(4, count, kGroup);
    shapes.set(6, kDepth);
    _tile_loadconfig(&shapes);
  }

  static void unpack(const uint8_t* w, int groups, int8_t* to) {
    const __m512i mask = _mm512_set1_epi8(15), bias = _mm512_set1_epi8(8);
    for (int i = 0; i < groups * 4; ++i, w += 64) {
      const __m512i bytes = _mm512_loadu_si512(w), high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
      int8_t* quad = to + (i / 4 * kDepth + i % 4) * 64;
      _mm512_store_si512(quad, _mm512_sub_epi8(_mm512_and_si512(bytes, mask), bias));
      _mm512_store_si512(quad + 4 * 64, _mm512_sub_epi8(high, bias));
    }
  }

  // Adds to 16 rows of sums what N groups give, in their order.
  template <int N>
  PU_INLINE static void add(const int8_t* a, ptrdiff_t stride, const int8_t* w, const uint16_t* scale, int32_t* sums,
                            __m512 (&acc)[kHeight]) {
#define PU_GROUP(t)                          \
  if constexpr (N > t) {                     \
    _tile_zero(t);                           \
    _tile_loadd(4, a + t * kGroup, stride);  \
    _tile_loadd(6, w + t * kDepth * 64, 64); \
    _tile_dpbssd(t, 4, 6);                   \
    _tile_stored(t, sums + t * 256, 64);     \
  }
    PU_GROUP(0);
    PU_GROUP(1);
    PU_GROUP(2);
    PU_GROUP(3);
#undef PU_GROUP
    PU_UNROLL
    for (int g = 0; g < N; ++g) {
      const __m512 by = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scale + g * kPanel)));
      PU_UNROLL
      for (int r = 0; r < kHeight; ++r) {
        acc[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + (g * kHeight + r) * kPanel)), by, acc[r]);
      }
    }
  }

  // `groups` groups of the rows of a tile. `total` [16][16]: the sums so far.
  void add_groups(const int8_t* a, const int8_t* w, const uint16_t* scale, int groups, int32_t* sums,
                  float* total) const {
    __m512 acc[kHeight];
    PU_UNROLL
    for (int r = 0; r < kHeight; ++r) acc[r] = _mm512_load_ps(total + r * kPanel);
    int g = 0;
    for (; g + 4 <= groups; g += 4) {
      add<4>(a + g * kGroup, x->q_stride, w + g * kDepth * 64, scale + g * kPanel, sums, acc);
    }
    for (; g < groups; ++g) add<1>(a + g * kGroup, x->q_stride, w + g * kDepth * 64, scale + g * kPanel, sums, acc);
    PU_UNROLL
    for (int r = 0; r < kHeight; ++r) _mm512_store_ps(total + r * kPanel, acc[r]);
  }

  template <int R>
  void leave_rows(const float* total, int row, int panel, int cols) const {
    __m512 acc[R][1];
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      acc[r][0] = _mm512_mul_ps(_mm512_load_ps(total + r * kPanel), _mm512_set1_ps(x->scale[row + r]));
    }
    pass_tile(out, acc, row, panel, cols);
  }

  void run(int rows, int n) const {
    alignas(64) int8_t unpacked[kGroups * kDepth * 64];
    alignas(64) int32_t sums[4 * kHeight * kPanel] = {};  // rows that are not there give what is not used
    alignas(64) float total[kBlockRows * kPanel];
    const int groups = (k + kGroup - 1) / kGroup;
    int shaped = 0;
    for (int panel = 0; panel * kPanel < n; ++panel) {
      for (int i = 0; i < (rows + kHeight - 1) / kHeight * kHeight * kPanel; ++i) total[i] = 0.0f;
      for (int first = 0; first < groups; first += kGroups) {
        const int count = groups - first < kGroups ? groups - first : kGroups;
        const ptrdiff_t block = static_cast<ptrdiff_t>(panel) * groups + first;
        unpack(tiles + block * 256, count, unpacked);
        for (int row = 0; row < rows; row += kHeight) {
          const int height = rows - row < kHeight ? rows - row : kHeight;
          if (height != shaped) shape(shaped = height);
          add_groups(x->q + row * x->q_stride + first * kGroup, unpacked, scales + block * kPanel, count, sums,
                     total + row * kPanel);
        }
      }
      const int cols = n - panel * kPanel < kPanel ? n - panel * kPanel : kPanel;
      int row = 0;
      for (; row + kTogether <= rows; row += kTogether) leave_rows<kTogether>(total + row * kPanel, row, panel, cols);
      for (; row < rows; ++row) leave_rows<1>(total + row * kPanel, row, panel, cols);
    }
  }
};

void gemm_i4(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
             const Epilogue* e, float* y, ptrdiff_t y_stride) {
  // CPUs with AMX fetch too little ahead of a row that meets weights from memory.
  if (rows == 1 && static_cast<ptrdiff_t>(n) * k / 2 > kFewestFar) {
    return sweep<Int4Gemm<kAhead>, 1, 1>({x, k, tiles, scales, {e, y, y_stride, act_row_avx512}}, rows, n);
  }
  if (rows < kFewestInt4) return gemm_i4_avx512vnni(x, rows, k, tiles, scales, n, e, y, y_stride);
  for_row_blocks(*x, rows, *e, y, y_stride, act_row_avx512, [&](const QuantizedRows& block, int count, Output out) {
    TileInt4{&block, k, tiles, scales, out}.run(count, n);
  });
  _tile_release();
}

}  // namespace

void fill_gemm_amx(Kernels* kernels) {
  kernels->rows_of_thread = 24;  // products of few rows take no longer than their weights
  kernels->gemm_i8 = gemm_i8;
  kernels->gemm_i4 = gemm_i4;
}

}  // namespace pocketuni
#endif
