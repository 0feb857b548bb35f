// Attention over rows rounded to int8, for AVX-512 with VNNI: both products run at four times the rate of floats.
//
// Queries, keys and values are rounded row by row as `quantize_rows` does, so a result depends on the rows it attends
// to and on nothing else. A value's scale goes to the weight it is multiplied by; these products, none of them
// negative, are rounded to 8 bits by the largest of their row.
#if defined(__x86_64__)
#include "dot_avx512vnni.h"
#include "nn.h"
#include "vec_avx512.h"
// The order matters: vec_math.h is written over the Vec above it.
#include "vec_math.h"

#include "gemm_tile.h"

namespace pocketuni {
namespace {

constexpr int kRows = 6, kQueries = 48;
constexpr int kMaxKeys = 65536;  // 255 x 127 x this still fits 31 bits

inline int round_up(int n, int to) { return (n + to - 1) / to * to; }

/// 2^x for x <= 0 (-infinity too) within 8e-5, enough for a weight of 8 bits.
inline Vec rough_exp2(Vec x) {
  const Vec r{_mm512_reduce_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  Vec p = set(5.51713e-2f);
  p = fma(p, r, set(0.242610541f));
  p = fma(p, r, set(0.693260992f));
  p = fma(p, r, set(0.999928108f));
  return {_mm512_scalef_ps(p.v, _mm512_sub_ps(x.v, r.v))};
}

/// Lane r of the result is `fold` over the lanes of vector r: up to eight vectors, each folded in the same order.
template <int R, class Fold>
inline Vec fold_rows(const Vec* rows, Fold fold) {
  static_assert(R <= 8);
  __m512 x[8];
  PU_UNROLL
  for (int r = 0; r < 8; ++r) x[r] = rows[r < R ? r : 0].v;
  PU_UNROLL
  for (int r = 0; r < 8; r += 2) {
    x[r / 2] = fold(Vec{_mm512_unpacklo_ps(x[r], x[r + 1])}, Vec{_mm512_unpackhi_ps(x[r], x[r + 1])}).v;
  }
  PU_UNROLL
  for (int r = 0; r < 4; r += 2) {
    const __m512d a = _mm512_castps_pd(x[r]), b = _mm512_castps_pd(x[r + 1]);
    const Vec low{_mm512_castpd_ps(_mm512_unpacklo_pd(a, b))}, high{_mm512_castpd_ps(_mm512_unpackhi_pd(a, b))};
    x[r / 2] = fold(low, high).v;
  }
  const Vec lanes = fold(Vec{_mm512_shuffle_f32x4(x[0], x[1], 0x88)}, Vec{_mm512_shuffle_f32x4(x[0], x[1], 0xdd)});
  return fold(Vec{_mm512_shuffle_f32x4(lanes.v, lanes.v, 0x88)}, Vec{_mm512_shuffle_f32x4(lanes.v, lanes.v, 0xdd)});
}

/// 16 rows of floats, of which `rows` are there, to be rounded to bytes by the largest of each.
struct SixteenRows {
  const float* x;
  ptrdiff_t stride;
  int rows, n;
  bool whole;                                // nothing is missing: neither rows nor columns of the last 16
  alignas(64) float scale[16], inverse[16];  // NaN in a row of NaN or infinity, whose bytes are 0

  SixteenRows(const float* from, ptrdiff_t row_stride, int there, int columns)
      : x(from),
        stride(row_stride),
        rows(there < 16 ? there : 16),
        n(columns),
        whole(there >= 16 && columns % 16 == 0) {
    __m512i most[16];
    PU_UNROLL
    for (int r = 0; r < 16; ++r) most[r] = _mm512_setzero_si512();
    for (int i = 0; i < n; i += 16) {
      PU_UNROLL
      for (int r = 0; r < 16; ++r) most[r] = max_abs_bits(most[r], at(r, i).v);
    }
    const __m512i bits = fold_max(most);
    const __mmask16 finite = _mm512_cmplt_epu32_mask(bits, _mm512_set1_epi32(0x7f800000));
    const __m512 max = _mm512_castsi512_ps(bits);
    const __mmask16 usable = finite & _mm512_cmp_ps_mask(max, _mm512_set1_ps(kSmallestMax), _CMP_GE_OQ);
    const __m512 bound = _mm512_set1_ps(127.0f);
    _mm512_store_ps(scale, _mm512_mask_blend_ps(finite, _mm512_set1_ps(__builtin_nanf("")),
                                                _mm512_maskz_div_ps(usable, max, bound)));
    _mm512_store_ps(inverse, _mm512_maskz_div_ps(usable, bound, max));
  }

  /// Columns c .. c + 15 of a row, zero where there are none.
  Vec at(int r, int c) const {
    if (whole) return load(x + r * stride + c);
    return r < rows ? load_part(x + r * stride + c, n - c, set(0.0f)) : set(0.0f);
  }

  /// The same as bytes. What is not a number becomes 0: the conversion gives -2^31, of which the lowest byte is kept.
  __m128i bytes(int r, int c) const { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32((at(r, c) * set(inverse[r])).v)); }
};

inline int32_t byte_sum(__m128i q) {
  const __m128i sums = _mm_sad_epu8(_mm_xor_si128(q, _mm_set1_epi8(-128)), _mm_setzero_si128());
  return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_unpackhi_epi64(sums, sums))) - 128 * 16;
}

struct Int8Attention {
  const AttentionArgs* args;
  int keys, quads, columns;  // rounded up: to 16, d to 16 (in quads), dv to 16
  float* key_scale;          // [keys]: with the scale of the scores, in units of log2
  float* value_scale;        // [keys]
  float* scores;             // [kRows][keys]
  uint8_t* key_tiles;        // [keys / 16][quads][16][4], biased by 128
  int8_t* value_tiles;       // [keys / 4][columns][4]
  uint8_t* weights;          // [kRows][round_up(keys, 64)]
  int8_t* queries;           // [kQueries][quads * 4]
  float* query_scale;        // [kQueries]
  int32_t* query_bias;       // [kQueries]
  int first_nan = kMaxKeys;  // the first value of NaN or infinity: it reaches every row that sees it

  explicit Int8Attention(const AttentionArgs* a)
      : args(a), keys(round_up(a->tk, 16)), quads(round_up(a->d, 16) / 4), columns(round_up(a->dv, 16)) {
    const auto n = static_cast<size_t>(keys), q = static_cast<size_t>(quads), c = static_cast<size_t>(columns);
    key_scale = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(a->scratch) + 63) / 64 * 64);
    value_scale = key_scale + n;
    query_scale = value_scale + n;
    query_bias = reinterpret_cast<int32_t*>(query_scale + kQueries);
    scores = reinterpret_cast<float*>(query_bias + kQueries);
    key_tiles = reinterpret_cast<uint8_t*>(scores + n * kRows);
    value_tiles = reinterpret_cast<int8_t*>(key_tiles + n * q * 4);
    weights = reinterpret_cast<uint8_t*>(value_tiles + n * c);
    queries = reinterpret_cast<int8_t*>(weights + weights_stride() * kRows);
  }

  ptrdiff_t weights_stride() const { return round_up(keys, 64); }

  /// Whether the scratch of `attention_scratch_floats` is enough: it is, except for few keys and the narrowest heads.
  bool fits() const {
    const char* end = reinterpret_cast<const char*>(queries + static_cast<ptrdiff_t>(kQueries) * quads * 4);
    return args->tk < kMaxKeys &&
           end <= reinterpret_cast<const char*>(args->scratch + attention_scratch_floats(args->tk, args->d, args->dv));
  }

  void pack_keys() const {
    const Vec unit = set(args->scale * kLog2e);
    const __m512i by_quad = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bias = _mm512_set1_epi8(-128);
    for (int j = 0; j < keys; j += 16) {
      const SixteenRows rows(args->k + j * args->k_stride, args->k_stride, args->tk - j, args->d);
      store(key_scale + j, load(rows.scale) * unit);
      uint8_t* to = key_tiles + static_cast<ptrdiff_t>(j) * quads * 4;
      for (int i = 0; i < quads; i += 4) {
        __m512i z[4];  // four rows each, a quad of theirs in each 128 bits
        PU_UNROLL
        for (int r = 0; r < 4; ++r) {
          __m512i four = _mm512_castsi128_si512(rows.bytes(4 * r, i * 4));
          four = _mm512_inserti32x4(four, rows.bytes(4 * r + 1, i * 4), 1);
          four = _mm512_inserti32x4(four, rows.bytes(4 * r + 2, i * 4), 2);
          four = _mm512_inserti32x4(four, rows.bytes(4 * r + 3, i * 4), 3);
          z[r] = _mm512_xor_si512(_mm512_permutexvar_epi32(by_quad, four), bias);
        }
        const __m512i a = _mm512_shuffle_i32x4(z[0], z[1], 0x44), b = _mm512_shuffle_i32x4(z[2], z[3], 0x44);
        const __m512i c = _mm512_shuffle_i32x4(z[0], z[1], 0xee), d = _mm512_shuffle_i32x4(z[2], z[3], 0xee);
        _mm512_storeu_si512(to + i * 64, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_storeu_si512(to + (i + 1) * 64, _mm512_shuffle_i32x4(a, b, 0xdd));
        _mm512_storeu_si512(to + (i + 2) * 64, _mm512_shuffle_i32x4(c, d, 0x88));
        _mm512_storeu_si512(to + (i + 3) * 64, _mm512_shuffle_i32x4(c, d, 0xdd));
      }
    }
  }

  void pack_values() {
    for (int j = 0; j < keys; j += 16) {
      const SixteenRows rows(args->v + j * args->v_stride, args->v_stride, args->tk - j, args->dv);
      const Vec scale = load(rows.scale);
      store(value_scale + j, if_nan(scale, set(0.0f), scale));
      const int bad = _mm512_cmp_ps_mask(scale.v, scale.v, _CMP_UNORD_Q);
      if (bad != 0 && first_nan > j + 15) first_nan = j + __builtin_ctz(static_cast<unsigned>(bad));
      for (int r = 0; r < 16; r += 4) {
        int8_t* to = value_tiles + static_cast<ptrdiff_t>(j + r) * columns;
        for (int c = 0; c < columns; c += 16) {
          const __m128i r0 = rows.bytes(r, c), r1 = rows.bytes(r + 1, c), r2 = rows.bytes(r + 2, c);
          const __m128i r3 = rows.bytes(r + 3, c);
          const __m128i a = _mm_unpacklo_epi8(r0, r1), b = _mm_unpackhi_epi8(r0, r1);
          const __m128i x = _mm_unpacklo_epi8(r2, r3), y = _mm_unpackhi_epi8(r2, r3);
          __m128i* out = reinterpret_cast<__m128i*>(to + c * 4);
          _mm_storeu_si128(out, _mm_unpacklo_epi16(a, x));
          _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(a, x));
          _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(b, y));
          _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(b, y));
        }
      }
    }
  }

  void round_queries(int first_row, int count) const {
    for (int j = 0; j < count; j += 16) {
      const SixteenRows rows(args->q + (first_row + j) * args->q_stride, args->q_stride, count - j, args->d);
      // A row of zeros keeps a scale, so that minus infinity stays what it is.
      const Vec scale = load(rows.scale);
      store(query_scale + j, if_less(scale, set(kSmallestMax), set(kSmallestMax), scale));
      for (int r = 0; r < 16; ++r) {
        int32_t sum = 0;
        for (int c = 0; c < quads * 4; c += 16) {
          const __m128i q = rows.bytes(r, c);
          _mm_storeu_si128(reinterpret_cast<__m128i*>(queries + static_cast<ptrdiff_t>(j + r) * quads * 4 + c), q);
          sum += byte_sum(q);
        }
        query_bias[j + r] = -128 * sum;
      }
    }
  }

  // What R queries, of which `query` is the first, score with 16 P keys: stored, the largest so far in `most`. Without
  // a mask the queries' own scales are left out.
  template <int R, int P>
  void score_tile(int row, int query, int panel, const int* limits, Vec* most) const {
    const ptrdiff_t panel_size = static_cast<ptrdiff_t>(quads) * 64, width = static_cast<ptrdiff_t>(quads) * 4;
    const uint8_t* w = key_tiles + panel * panel_size;
    const int8_t* q = queries + query * width;
    __m512i acc[R][P];
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i bias = _mm512_set1_epi32(query_bias[query + r]);
      PU_UNROLL
      for (int p = 0; p < P; ++p) acc[r][p] = bias;
    }
    for (int i = 0; i < quads; ++i) {
      __m512i tile[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) tile[p] = _mm512_loadu_si512(w + p * panel_size + i * 64);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512i x = broadcast_quad(q + r * width + i * 4);
        PU_UNROLL
        for (int p = 0; p < P; ++p) add_dot(acc[r][p], tile[p], x);
      }
    }
    Vec top[R];
    PU_UNROLL
    for (int r = 0; r < R; ++r) top[r] = set(-__builtin_inff());
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const Vec key_scales = load(key_scale + 16 * (panel + p));
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const Vec s = Vec{_mm512_cvtepi32_ps(acc[r][p])} * key_scales;
        top[r] = max(top[r], s);
        store(scores + r * static_cast<ptrdiff_t>(keys) + 16 * (panel + p), s);
      }
    }
    // Apart from the sums: a condition on each would put them into memory.
    const bool plain = args->mask == nullptr && 16 * (panel + P) <= limits[0];
    for (int r = 0; r < R; ++r) {
      const Vec seen = plain ? top[r] : mask_scores(row, query, r, 16 * panel, 16 * (panel + P), limits[r]);
      most[r] = max(most[r], seen);
    }
  }

  // Adds the mask to the scores of keys begin .. end - 1 and hides those beyond `limit`; returns the largest by lanes.
  Vec mask_scores(int row, int query, int r, int begin, int end, int limit) const {
    Vec most = set(-__builtin_inff());
    for (int key = begin; key < end; key += 16) {
      float* at = scores + r * static_cast<ptrdiff_t>(keys) + key;
      Vec s = load(at);
      if (args->mask != nullptr) {
        const Vec mask = load_part(args->mask + (row + r) * args->mask_stride + key, args->tk - key, set(0.0f));
        s = fma(mask, set(kLog2e), s * set(query_scale[query + r]));
      }
      if (key + 16 > limit) s = first(limit - key, s, set(-__builtin_inff()));
      most = max(most, s);
      store(at, s);
    }
    return most;
  }

  // Scores of a row to 2^(factor (s - max)) times the value's scale; the lanes' sums of the one, the largest of both.
  void weigh_row(float* s, int count, int limit, float factor, float largest_score, Vec& total, Vec& most) const {
    const Vec f = set(factor), shift = set(largest_score == -__builtin_inff() ? 0.0f : -largest_score * factor);
    total = most = set(0.0f);
    for (int j = 0; j < count; j += 16) {
      const Vec e = rough_exp2(fma(load(s + j), f, shift));
      const Vec scales = j + 16 <= limit ? load(value_scale + j) : first(limit - j, load(value_scale + j), set(0.0f));
      const Vec product = e * scales;
      total = total + e;
      most = max(most, product);
      store(s + j, product);
    }
  }

  // These to weights of 8 bits.
  void round_row(const float* s, uint8_t* w, int count, float scale) const {
    const Vec inverse = set(scale);
    const __m512i in_order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    int j = 0;
    for (; j + 64 <= count; j += 64) {
      __m512i part[4];
      PU_UNROLL
      for (int i = 0; i < 4; ++i) part[i] = _mm512_cvtps_epi32((load(s + j + 16 * i) * inverse).v);
      const __m512i low = _mm512_packus_epi32(part[0], part[1]), high = _mm512_packus_epi32(part[2], part[3]);
      _mm512_storeu_si512(w + j, _mm512_permutexvar_epi32(in_order, _mm512_packus_epi16(low, high)));
    }
    for (; j < count; j += 16) {
      const __m512i part = _mm512_cvtps_epi32((load(s + j) * inverse).v);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(w + j), _mm512_cvtusepi32_epi8(part));
    }
  }

  template <int R, int P>
  void value_tile(int row, int column, int count, const float* factor) const {
    const int8_t* v = value_tiles + column * 4;
    __m512i acc[R][P];
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      PU_UNROLL
      for (int p = 0; p < P; ++p) acc[r][p] = _mm512_setzero_si512();
    }
    for (int j = 0; j < count; j += 4, v += static_cast<ptrdiff_t>(columns) * 4) {
      __m512i tile[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) tile[p] = _mm512_loadu_si512(v + p * 64);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512i x = broadcast_quad(weights + r * weights_stride() + j);
        PU_UNROLL
        for (int p = 0; p < P; ++p) add_dot(acc[r][p], x, tile[p]);
      }
    }
    PU_UNROLL
    for (int r = 0; r < R; ++r) {
      PU_UNROLL
      for (int p = 0; p < P; ++p) {
        const int c = column + 16 * p;
        const Vec y = Vec{_mm512_cvtepi32_ps(acc[r][p])} * set(factor[r]);
        store_part(args->out + (row + r) * args->out_stride + c, y, args->dv - c);
      }
    }
  }

  template <int R>
  void attend_rows(int row, int query) const {
    alignas(64) float factor[16];
    int limits[R];
    Vec most[R];
    for (int r = 0; r < R; ++r) {
      const int seen = row + r + 1 + args->tk - args->tq;
      limits[r] = args->causal == 0 || seen > args->tk ? args->tk : seen < 0 ? 0 : seen;
      most[r] = set(-__builtin_inff());
    }
    const int count = round_up(limits[R - 1], 16);
    int panel = 0;
    for (; panel + 4 <= count / 16; panel += 4) score_tile<R, 4>(row, query, panel, limits, most);
    for (; panel < count / 16; ++panel) score_tile<R, 1>(row, query, panel, limits, most);
    // Reductions over the lanes, and divisions, for all rows at once: one by one they are half of the time here.
    alignas(64) float best[16], inverse[16];
    const auto greater = [](Vec a, Vec b) { return max(a, b); };
    _mm512_store_ps(best, fold_rows<R>(most, greater).v);
    Vec total[R];
    for (int r = 0; r < R; ++r) {
      float* s = scores + r * static_cast<ptrdiff_t>(keys);
      const float scale = args->mask != nullptr ? 1.0f : query_scale[query + r];
      weigh_row(s, count, limits[r], scale, best[r], total[r], most[r]);
    }
    const Vec peak = fold_rows<R>(most, greater), sums = fold_rows<R>(total, [](Vec a, Vec b) { return a + b; });
    const Vec infinity = set(__builtin_inff()), top = set(255.0f);
    store(inverse, if_less(set(kSmallestMax), peak, top / peak, set(0.0f)));
    Vec factors = if_less(set(0.0f), sums, peak / (top * sums), set(0.0f));
    factors = if_less(sums, infinity, factors, set(__builtin_nanf("")));  // NaN too: a sum with one is none
    store(factor, if_less(peak, infinity, factors, set(__builtin_nanf(""))));
    for (int r = 0; r < R; ++r) {
      if (limits[r] > first_nan) factor[r] = __builtin_nanf("");
      round_row(scores + r * static_cast<ptrdiff_t>(keys), weights + r * weights_stride(), count, inverse[r]);
    }
    int column = 0;
    for (; column + 32 <= columns; column += 32) value_tile<R, 2>(row, column, count, factor);
    if (column < columns) value_tile<R, 1>(row, column, count, factor);
  }

  template <int R>
  void attend_block(int row, int query, int rows) const {
    if (rows == R) {
      attend_rows<R>(row, query);
    } else if constexpr (R > 1) {
      attend_block<R - 1>(row, query, rows);
    }
  }

  void attend() const {
    for (int begin = 0; begin < args->tq; begin += kQueries) {
      const int rows = args->tq - begin < kQueries ? args->tq - begin : kQueries;
      round_queries(begin, rows);
      const int blocks = (rows + kRows - 1) / kRows, size = rows / blocks, larger = rows % blocks;
      for (int b = 0, at = 0; b < blocks; ++b) {
        const int count = size + (b < larger ? 1 : 0);
        attend_block<kRows>(begin + at, at, count);
        at += count;
      }
    }
  }
};

void attention_i8(const AttentionArgs* a) {
  if (a->tq <= 0) return;
  Int8Attention attention(a);
  if (!attention.fits()) return find_kernels("avx512vnni")->attention_f32(a);
  attention.pack_keys();
  attention.pack_values();
  attention.attend();
}

}  // namespace

void fill_attention_avx512vnni(Kernels* kernels) { kernels->attention_i8 = attention_i8; }

}  // namespace pocketuni
#endif
