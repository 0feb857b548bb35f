// Attention for one (batch, head), over the Vec and the vec_math.h that were included before.
//
// Keys are transposed once into panels of 16, values copied next to each other; then blocks of up to kTileRows queries
// keep their scores in L1 from the product with the keys through softmax to the product with the values. A result is
// one chain of fused multiply-adds in the order of k (then of the keys), so it does not depend on the block it is in.
#pragma once

#if defined(__clang__)
#define PU_NN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PU_NN_UNROLL _Pragma("GCC unroll 16")
#endif

namespace pocketuni {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

inline int smaller_of(int a, int b) { return a < b ? a : b; }
inline int round_up_16(int n) { return (n + 15) / 16 * 16; }

// Transposes columns [c, c + 4) of 16 rows. A row that does not exist is read as zeros.
inline void pack_quads(const float* const* rows, int c, float* out) {
  Vec x[4];
  for (int i = 0; i < 4; ++i) {
    x[i] = load_quads(rows[i] + c, rows[4 + i] + c, rows[8 + i] + c, rows[12 + i] + c);
  }
  transpose_quads(x);
  for (int i = 0; i < 4; ++i) store(out + 16 * i, x[i]);
}

// [count][k] by rows -> [k][16], count <= 16.
inline void pack_transposed(const float* b, ptrdiff_t stride, int count, int k, float* out) {
  int c = 0;
  if (count == 16) {
    const float* rows[16];
    for (int j = 0; j < 16; ++j) rows[j] = b + j * stride;
    for (; c + 4 <= k; c += 4) pack_quads(rows, c, out + 16 * c);
  }
  for (; c < k; ++c) {
    for (int j = 0; j < 16; ++j) out[16 * c + j] = j < count ? b[j * stride + c] : 0.0f;
  }
}

void pack_f32(const float* b, ptrdiff_t k_stride, ptrdiff_t n_stride, int k, int n, float* tiles) {
  for (int j = 0; j < n; j += 16, b += 16 * n_stride, tiles += static_cast<ptrdiff_t>(16) * k) {
    const int count = smaller_of(n - j, 16);
    if (k_stride == 1) {
      pack_transposed(b, n_stride, count, k, tiles);
    } else if (n_stride == 1) {
      for (int i = 0; i < k; ++i) {
        const float* row = b + i * k_stride;
        store(tiles + 16 * i, count == 16 ? load(row) : load_part(row, count, set(0.0f)));
      }
    } else {
      for (int i = 0; i < k; ++i) {
        for (int c = 0; c < 16; ++c) tiles[16 * i + c] = c < count ? b[i * k_stride + c * n_stride] : 0.0f;
      }
    }
  }
}

struct AttentionBlock {
  const AttentionArgs* args;
  const float* keys;    // [panels][d][16]
  const float* values;  // [tk][>= dv, a multiple of 16]
  ptrdiff_t value_stride;
  float* scores;  // [kTileRows][pitch]
  ptrdiff_t pitch;
};

// Scores of R queries with 16 P keys: scaled, masked, stored; the running maxima in `most`.
template <int R, int P>
inline void score_tile(const AttentionBlock& block, int row, int panel, const int* limits, Vec* most) {
  const AttentionArgs& a = *block.args;
  const float* q = a.q + row * a.q_stride;
  const ptrdiff_t panel_size = static_cast<ptrdiff_t>(16) * a.d;
  const float* keys = block.keys + panel * panel_size;
  Vec acc[R][P];
  PU_NN_UNROLL for (int r = 0; r < R; ++r) { PU_NN_UNROLL for (int p = 0; p < P; ++p) acc[r][p] = set(0.0f); }
  for (int i = 0; i < a.d; ++i, keys += 16) {
    Vec w[P];
    PU_NN_UNROLL for (int p = 0; p < P; ++p) w[p] = load(keys + p * panel_size);
    PU_NN_UNROLL for (int r = 0; r < R; ++r) {
      const Vec x = set(q[r * a.q_stride + i]);
      PU_NN_UNROLL for (int p = 0; p < P; ++p) acc[r][p] = fma(x, w[p], acc[r][p]);
    }
  }
  PU_NN_UNROLL for (int r = 0; r < R; ++r) {
    PU_NN_UNROLL for (int p = 0; p < P; ++p) {
      const int key = 16 * (panel + p);
      Vec s = acc[r][p] * set(a.scale);
      if (a.mask != nullptr) {
        const float* mask = a.mask + (row + r) * a.mask_stride + key;
        s = s + (key + 16 <= a.tk ? load(mask) : load_part(mask, a.tk - key, set(0.0f)));
      }
      if (key + 16 > limits[r]) s = first(limits[r] - key, s, set(kMinusInfinity));
      most[r] = max(most[r], s);
      store(block.scores + r * block.pitch + key, s);
    }
  }
}

// 2^((s - max) log2(e)) over the row in place; the sum. A maximum of -inf is taken as 0, so that masked keys become 0.
inline float weights_of_row(float* scores, int keys, float most) {
  const Vec shift = set(most == kMinusInfinity ? 0.0f : most);
  Vec total = set(0.0f);
  for (int j = 0; j < keys; j += 16) {
    const Vec w = exp2_of_negative((load(scores + j) - shift) * set(kLog2e));
    total = total + w;
    store(scores + j, w);
  }
  return sum(total);
}

// Output columns [column, column + 16 P) of R queries. Keys that only some of the queries see come last, one by one: a
// weight of 0 is not enough to keep out a value that is NaN.
template <int R, int P>
inline void value_tile(const AttentionBlock& block, int row, int column, const int* limits, const float* sums) {
  const AttentionArgs& a = *block.args;
  const float* values = block.values + column;
  Vec acc[R][P];
  PU_NN_UNROLL for (int r = 0; r < R; ++r) { PU_NN_UNROLL for (int p = 0; p < P; ++p) acc[r][p] = set(0.0f); }
  int j = 0;
  for (; j < limits[0]; ++j, values += block.value_stride) {
    Vec w[P];
    PU_NN_UNROLL for (int p = 0; p < P; ++p) w[p] = load(values + 16 * p);
    PU_NN_UNROLL for (int r = 0; r < R; ++r) {
      const Vec x = set(block.scores[r * block.pitch + j]);
      PU_NN_UNROLL for (int p = 0; p < P; ++p) acc[r][p] = fma(x, w[p], acc[r][p]);
    }
  }
  for (; j < limits[R - 1]; ++j, values += block.value_stride) {
    PU_NN_UNROLL for (int r = 0; r < R; ++r) {
      if (j >= limits[r]) continue;
      const Vec x = set(block.scores[r * block.pitch + j]);
      PU_NN_UNROLL for (int p = 0; p < P; ++p) acc[r][p] = fma(x, load(values + 16 * p), acc[r][p]);
    }
  }
  PU_NN_UNROLL for (int r = 0; r < R; ++r) {
    const bool masked = sums[r] == 0.0f;
    const Vec inverse = set(masked ? 0.0f : 1.0f / sums[r]);
    PU_NN_UNROLL for (int p = 0; p < P; ++p) {
      const int c = column + 16 * p;
      const Vec y = masked ? set(0.0f) : acc[r][p] * inverse;
      float* out = a.out + (row + r) * a.out_stride + c;
      if (c + 16 <= a.dv) {
        store(out, y);
      } else {
        store_part(out, y, a.dv - c);
      }
    }
  }
}

// The widest tile that still fits, then narrower ones.
template <int R, int P>
inline void score_tiles(const AttentionBlock& block, int row, int panel, int panels, const int* limits, Vec* most) {
  for (; panel + P <= panels; panel += P) score_tile<R, P>(block, row, panel, limits, most);
  if constexpr (P > 1) {
    if (panel < panels) score_tiles<R, P / 2>(block, row, panel, panels, limits, most);
  }
}
template <int R, int P>
inline void value_tiles(const AttentionBlock& block, int row, int column, const int* limits, const float* sums) {
  const int columns = round_up_16(block.args->dv);
  for (; column + 16 * P <= columns; column += 16 * P) value_tile<R, P>(block, row, column, limits, sums);
  if constexpr (P > 1) {
    if (column < columns) value_tiles<R, P / 2>(block, row, column, limits, sums);
  }
}

template <int R>
void attend_rows(const AttentionBlock& block, int row) {
  const AttentionArgs& a = *block.args;
  int limits[R];  // keys that a query sees
  Vec most[R];
  float sums[R];
  for (int r = 0; r < R; ++r) {
    const int seen = row + r + 1 + a.tk - a.tq;
    limits[r] = a.causal == 0 || seen > a.tk ? a.tk : seen < 0 ? 0 : seen;
    most[r] = set(kMinusInfinity);
  }
  const int keys = round_up_16(limits[R - 1]);
  // One or two queries alone would wait for their few accumulators.
  constexpr int kVecs = R == 1 ? kRowVecs : R == 2 ? kPairVecs : kTileVecs;
  score_tiles<R, kVecs>(block, row, 0, keys / 16, limits, most);
  for (int r = 0; r < R; ++r) sums[r] = weights_of_row(block.scores + r * block.pitch, keys, largest(most[r]));
  value_tiles<R, kVecs>(block, row, 0, limits, sums);
}

template <int R>
inline void attend_block(const AttentionBlock& block, int row, int rows) {
  if (rows == R) {
    if constexpr (R > 4 && R < kTileRows) {  // two bodies that there are anyway, instead of a large one more
      constexpr int kFirst = (R + 1) / 2;
      attend_rows<kFirst>(block, row);
      attend_rows<R - kFirst>(block, row + kFirst);
    } else {
      attend_rows<R>(block, row);
    }
  } else if constexpr (R > 1) {
    attend_block<R - 1>(block, row, rows);
  }
}

void attention_f32(const AttentionArgs* a) {
  if (a->tq <= 0) return;
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(a->scratch) + 63) / 64 * 64;
  float* keys = reinterpret_cast<float*>(aligned);
  const int key_count = round_up_16(a->tk), columns = round_up_16(a->dv);
  float* values = keys + static_cast<ptrdiff_t>(key_count) * a->d;
  float* scores = values + static_cast<ptrdiff_t>(key_count) * columns;
  pack_f32(a->k, 1, a->k_stride, a->d, a->tk, keys);

  AttentionBlock block{a, keys, a->v, a->v_stride, scores, key_count};
  // In place, heads side by side put the rows of one head into few cache sets; that hurts once they are read again.
  if (a->tq > kTileRows || columns != a->dv) {
    for (int j = 0; j < a->tk; ++j) {
      const float* from = a->v + j * a->v_stride;
      float* to = values + static_cast<ptrdiff_t>(j) * columns;
      for (int c = 0; c < columns; c += 16) {
        store(to + c, c + 16 <= a->dv ? load(from + c) : load_part(from + c, a->dv - c, set(0.0f)));
      }
    }
    block.values = values, block.value_stride = columns;
  }
  const int blocks = (a->tq + kTileRows - 1) / kTileRows, size = a->tq / blocks, larger = a->tq % blocks;
  for (int b = 0, row = 0; b < blocks; ++b) {
    const int rows = size + (b < larger ? 1 : 0);
    attend_block<kTileRows>(block, row, rows);
    row += rows;
  }
}

}  // namespace
}  // namespace pocketuni
