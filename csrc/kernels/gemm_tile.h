// How a product is cut into register tiles, shared by the SIMD files. All of it lives in an unnamed namespace: each ISA
// compiles its own copy with its own flags, and the linker must not merge them.
//
// An operator `Op` has kRows and kPanels, the largest tile whose accumulators stay in registers; kGemvPanels, the tile
// width for a single row; and `template <int R, int P> void tile(int row, int panel, int cols) const`, which computes
// rows [row, row + R) of outputs [16 panel, 16 panel + cols), cols in (16 (P - 1), 16 P].
#pragma once
#include "kernels.h"

#if defined(__clang__)
#define PU_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PU_UNROLL _Pragma("GCC unroll 16")
#endif

// The way out of a tile, once for all operators with accumulators of one shape: inlined, it is half of the library.
#define PU_NOINLINE __attribute__((noinline))
// What takes a tile's accumulators has to be inlined: called, it would get them through memory.
#define PU_INLINE __attribute__((always_inline)) inline

namespace pocketuni {
namespace {

using ActRow = void (*)(Activation, float*, int);

inline bool is_zero_row(float max) { return max < kSmallestMax; }

// Sum of a quantized row: what the bias of the weights is multiplied by.
inline int32_t row_sum(const QuantizedRows& x, ptrdiff_t row, int k) {
  const int32_t* sums = x.sum + row * (x.q_stride / kGroup);
  int32_t total = 0;
  for (int g = 0; g < (k + kGroup - 1) / kGroup; ++g) total += sums[g];
  return total;
}

struct Output {
  const Epilogue* epilogue;
  float* y;
  ptrdiff_t y_stride;
  ActRow act_row;

  /// Whether the activation is more than one instruction on registers.
  bool curved() const { return epilogue->activation != Activation::kNone && epilogue->activation != Activation::kRelu; }
};

// Calls body(rows of x, how many, their output) for blocks of rows that stay in L2 with the weights they meet.
constexpr int kBlockRows = 128;
template <class F>
inline void for_row_blocks(const QuantizedRows& x, int rows, const Epilogue& e, float* y, ptrdiff_t y_stride,
                           ActRow act_row, F body) {
  for (ptrdiff_t row = 0; row < rows; row += kBlockRows) {
    const QuantizedRows block{x.q + row * x.q_stride, x.q_stride, x.scale + row, x.sum + row * (x.q_stride / kGroup)};
    Epilogue epilogue = e;
    if (e.residual != nullptr) epilogue.residual += row * e.residual_stride;
    const int count = static_cast<int>(rows - row < kBlockRows ? rows - row : kBlockRows);
    body(block, count, Output{&epilogue, y + row * y_stride, y_stride, act_row});
  }
}

/// While the tiles of a group of panels multiply, they fetch the next group into L2: each of them so many bytes of each
/// panel that all together fetch all. Weights from L3 or from memory then cost little more than those of a cache. Fewer
/// rows than Op::kAheadRows wait for their weights whatever is done.
template <class Op>
constexpr ptrdiff_t bytes_ahead(int rows, ptrdiff_t panel_bytes) {
  const int tiles = (rows + Op::kRows - 1) / Op::kRows;
  return rows < Op::kAheadRows ? 0 : (panel_bytes / 64 + tiles - 1) / tiles * 64;
}

/// What one tile fetches, some in each of its steps.
struct Ahead {
  const char *next, *end;
  ptrdiff_t lines;
  void step() {
    for (ptrdiff_t l = 0; l < lines && next < end; ++l, next += 64) __builtin_prefetch(next, 0, 2);
  }
};

/// For the tile from `row` on of the group of P panels that begins at `w`.
template <class Op, int P>
inline Ahead fetch_ahead(const void* w, ptrdiff_t panel_bytes, int row, ptrdiff_t ahead, ptrdiff_t steps) {
  const char* next = static_cast<const char*>(w) + P * (panel_bytes + (row + Op::kRows - 1) / Op::kRows * ahead);
  return {next, next + P * ahead, ahead == 0 ? 0 : (P * ahead / 64 + steps - 1) / steps};
}

template <class Op, int P, int R>
inline void tile_of_rows(const Op& op, int rows, int row, int panel, int cols) {
  if (rows == R) {
    op.template tile<R, P>(row, panel, cols);
  } else if constexpr (R > 1) {
    tile_of_rows<Op, P, R - 1>(op, rows, row, panel, cols);
  }
}

// Rows run inside, so the weights of one panel group are fetched once and stay in L1 or L2. Blocks of rows are made
// even (16 = 6 + 5 + 5), because a short last block would have too few accumulators to hide the latency.
template <class Op, int MaxRows, int P>
void panel_group(const Op& op, int rows, int panel, int cols) {
  const int blocks = (rows + MaxRows - 1) / MaxRows, size = rows / blocks, larger = rows % blocks;
  for (int b = 0, row = 0; b < blocks; ++b) {
    const int height = size + (b < larger ? 1 : 0);
    tile_of_rows<Op, P, MaxRows>(op, height, row, panel, cols);
    row += height;
  }
}

// The widest groups that fit, then groups half as wide: a tile for every width would double the size of the code.
template <class Op, int MaxRows, int P>
void sweep(const Op& op, int rows, int n, int panel = 0) {
  const int panels = (n + kPanel - 1) / kPanel;
  for (; panel + P <= panels; panel += P) {
    const int left = n - panel * kPanel;
    panel_group<Op, MaxRows, P>(op, rows, panel, left < P * kPanel ? left : P * kPanel);
  }
  if constexpr (P > 1) {
    if (panel < panels) sweep<Op, MaxRows, P / 2>(op, rows, n, panel);
  }
}

template <class Op>
void for_each_tile(const Op& op, int rows, int n) {
  if (rows <= 0 || n <= 0) return;
  if (rows == 1) {
    sweep<Op, 1, Op::kGemvPanels>(op, rows, n);
  } else {
    sweep<Op, Op::kRows, Op::kPanels>(op, rows, n);
  }
}

}  // namespace
}  // namespace pocketuni
