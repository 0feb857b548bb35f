// Attention over rows rounded to int8, for AVX-512 with VNNI: both products run at four times the rate of floats.
//
// Queries, keys and values are rounded row by row as `quantize_rows` does, so a result depends on the rows it attends
// to and on nothing else. A value's scale goes to the weight it is multiplied by; these products, none of them
// negative, are rounded to 8 bits by the largest of their row.
#if defined(__x86_64__)
#include <cstring>

#include "dot_avx512vnni.h"
#include "nn.h"
#include "vec_avx512.h"
// The order matters: vec_math.h is written over the Vec above it.
#include "vec_math.h"

#include "gemm_tile.h"

namespace pocketuni {
namespace {

constexpr int kRows = 6;
constexpr int kMaxKeys = 65536;  // 255 x 127 x this still fits 31 bits

inline int round_up(int n, int to) { return (n + to - 1) / to * to; }

inline __m512i broadcast_quad(const void* q) {
  int32_t value;
  std::memcpy(&value, q, sizeof value);
  return _mm512_set1_epi32(value);
}

// Rounds a row of n floats to bytes, zeros up to `width` (a multiple of 16); returns its scale. NaN or infinity: NaN.
inline float round_row(const float* x, int n, int width, int8_t* q) {
  __m512i bits = _mm512_setzero_si512();
  for (int i = 0; i < n; i += 16) {
    const __m512i part = _mm512_castps_si512(load_part(x + i, n - i, set(0.0f)).v);
    bits = _mm512_max_epu32(bits, _mm512_and_si512(part, _mm512_set1_epi32(0x7fffffff)));
  }
  const uint32_t most = _mm512_reduce_max_epu32(bits);
  float max;
  std::memcpy(&max, &most, sizeof max);
  const bool finite = most < 0x7f800000u;
  const Vec inverse = set(finite && !is_zero_row(max) ? 127.0f / max : 0.0f);
  for (int i = 0; i < width; i += 16) {
    const Vec v = finite ? load_part(x + i, n - i, set(0.0f)) * inverse : set(0.0f);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v.v)));
  }
  return !finite ? __builtin_nanf("") : is_zero_row(max) ? 0.0f : max / 127.0f;
}

struct Int8Attention {
  const AttentionArgs* args;
  int keys, quads, columns;  // rounded up: to 16, d to 4 (in quads), dv to 16
  float* key_scale;          // [keys]
  float* value_scale;        // [keys]
  float* scores;             // [kRows][keys]
  uint8_t* key_tiles;        // [keys / 16][quads][16][4], biased by 128
  int8_t* value_tiles;       // [keys / 4][columns][4]
  uint8_t* weights;          // [kRows][keys]
  int8_t* query;             // [kRows][round_up(d, 16)]
  int8_t* spare;             // four rounded rows of values

  explicit Int8Attention(const AttentionArgs* a)
      : args(a), keys(round_up(a->tk, 16)), quads((a->d + 3) / 4), columns(round_up(a->dv, 16)) {
    const size_t n = static_cast<size_t>(keys), q = static_cast<size_t>(quads), c = static_cast<size_t>(columns);
    key_scale = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(a->scratch) + 63) / 64 * 64);
    value_scale = key_scale + n;
    scores = value_scale + n;
    key_tiles = reinterpret_cast<uint8_t*>(scores + n * kRows);
    value_tiles = reinterpret_cast<int8_t*>(key_tiles + n * q * 4);
    weights = reinterpret_cast<uint8_t*>(value_tiles + n * c);
    query = reinterpret_cast<int8_t*>(weights + n * kRows);
    spare = query + static_cast<size_t>(kRows) * static_cast<size_t>(round_up(a->d, 16));
  }

  /// Whether the scratch of `attention_scratch_floats` is enough: it is, except for the narrowest heads.
  bool fits() const {
    const char* end = reinterpret_cast<const char*>(spare + 4 * columns);
    return args->tk < kMaxKeys &&
           end <= reinterpret_cast<const char*>(args->scratch + attention_scratch_floats(args->tk, args->d, args->dv));
  }

  void pack_keys() const {
    const int width = round_up(args->d, 16);
    for (int j = 0; j < keys; ++j) {
      uint8_t* to = key_tiles + static_cast<ptrdiff_t>(j / 16) * quads * 64 + j % 16 * 4;
      key_scale[j] = j < args->tk ? round_row(args->k + j * args->k_stride, args->d, width, spare) : 0.0f;
      for (int i = 0; i < quads; ++i) {
        uint32_t quad = 0;
        if (j < args->tk) std::memcpy(&quad, spare + i * 4, sizeof quad);
        quad ^= 0x80808080u;
        std::memcpy(to + i * 64, &quad, sizeof quad);
      }
    }
  }

  void pack_values() const {
    for (int j = 0; j < keys; j += 4) {
      for (int i = 0; i < 4; ++i) {
        const bool there = j + i < args->tk;
        value_scale[j + i] =
            there ? round_row(args->v + (j + i) * args->v_stride, args->dv, columns, spare + i * columns) : 0.0f;
        if (!there) std::memset(spare + i * columns, 0, static_cast<size_t>(columns));
      }
      int8_t* to = value_tiles + static_cast<ptrdiff_t>(j) * columns;
      for (int c = 0; c < columns; c += 16) {
        __m128i row[4];
        for (int i = 0; i < 4; ++i) row[i] = _mm_loadu_si128(reinterpret_cast<__m128i*>(spare + i * columns + c));
        const __m128i a = _mm_unpacklo_epi8(row[0], row[1]), b = _mm_unpackhi_epi8(row[0], row[1]);
        const __m128i x = _mm_unpacklo_epi8(row[2], row[3]), y = _mm_unpackhi_epi8(row[2], row[3]);
        __m128i* out = reinterpret_cast<__m128i*>(to + c * 4);
        _mm_storeu_si128(out, _mm_unpacklo_epi16(a, x));
        _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(a, x));
        _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(b, y));
        _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(b, y));
      }
    }
  }

  // Scores in units of log2 of R queries with 16 P keys: scaled, masked, stored; the running maxima in `most`.
  template <int R, int P>
  void score_tile(int row, int panel, const float* scale, const int32_t* bias, const int* limits, Vec* most) const {
    const int width = round_up(args->d, 16);
    const ptrdiff_t panel_size = static_cast<ptrdiff_t>(quads) * 64;
    const uint8_t* w = key_tiles + panel * panel_size;
    __m512i acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_set1_epi32(bias[i / P]);
    for (int i = 0; i < quads; ++i) {
      __m512i tile[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) tile[p] = _mm512_loadu_si512(w + p * panel_size + i * 64);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512i x = broadcast_quad(query + r * width + i * 4);
        PU_UNROLL
        for (int p = 0; p < P; ++p) add_dot(acc[r][p], tile[p], x);
      }
    }
    PU_UNROLL
    for (int p = 0; p < P; ++p) {
      const int key = 16 * (panel + p);
      const Vec key_scales = load(key_scale + key);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        Vec s = Vec{_mm512_cvtepi32_ps(acc[r][p])} * (key_scales * set(scale[r]));
        if (args->mask != nullptr) {
          const Vec mask = load_part(args->mask + (row + r) * args->mask_stride + key, args->tk - key, set(0.0f));
          s = fma(mask, set(kLog2e), s);
        }
        if (key + 16 > limits[r]) s = first(limits[r] - key, s, set(-__builtin_inff()));
        most[r] = max(most[r], s);
        store(scores + r * static_cast<ptrdiff_t>(keys) + key, s);
      }
    }
  }

  // Scores to weights of 8 bits: w = 2^(s - max) times the value's scale, by the largest of them. Returns what turns
  // the integer sums into results.
  float weights_of_row(float* s, uint8_t* w, int count, int limit, float largest_score) const {
    const Vec shift = set(largest_score == -__builtin_inff() ? 0.0f : largest_score);
    Vec total = set(0.0f), most = set(0.0f);
    for (int j = 0; j < count; j += 16) {
      const Vec e = exp2_of_negative(load(s + j) - shift);
      const Vec scales = j + 16 <= limit ? load(value_scale + j) : first(limit - j, load(value_scale + j), set(0.0f));
      const Vec product = e * scales;
      total = total + e;
      most = max(most, product);
      store(s + j, product);
    }
    const float peak = largest(most), sum_of_weights = sum(total);
    const bool nan = !(sum_of_weights < __builtin_inff()) || !(peak < __builtin_inff());
    const Vec inverse = set(peak > 1e-30f ? 255.0f / peak : 0.0f);
    for (int j = 0; j < count; j += 16) {
      const __m512i bytes = _mm512_cvtps_epi32((load(s + j) * inverse).v);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(w + j), _mm512_cvtusepi32_epi8(bytes));
    }
    if (nan) return __builtin_nanf("");
    return sum_of_weights == 0.0f ? 0.0f : peak / 255.0f / sum_of_weights;
  }

  template <int R, int P>
  void value_tile(int row, int column, int count, const float* factor) const {
    const int8_t* v = value_tiles + column * 4;
    __m512i acc[R][P];
    PU_UNROLL
    for (int i = 0; i < R * P; ++i) acc[i / P][i % P] = _mm512_setzero_si512();
    for (int j = 0; j < count; j += 4, v += static_cast<ptrdiff_t>(columns) * 4) {
      __m512i tile[P];
      PU_UNROLL
      for (int p = 0; p < P; ++p) tile[p] = _mm512_loadu_si512(v + p * 64);
      PU_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512i x = broadcast_quad(weights + r * static_cast<ptrdiff_t>(keys) + j);
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
  void attend_rows(int row) const {
    const int width = round_up(args->d, 16);
    float scale[R], factor[R];
    int32_t bias[R];
    int limits[R];
    Vec most[R];
    for (int r = 0; r < R; ++r) {
      int8_t* q = query + r * width;
      scale[r] = round_row(args->q + (row + r) * args->q_stride, args->d, width, q) * args->scale * kLog2e;
      int32_t total = 0;
      for (int i = 0; i < width; ++i) total += q[i];
      bias[r] = -128 * total;
      const int seen = row + r + 1 + args->tk - args->tq;
      limits[r] = args->causal == 0 || seen > args->tk ? args->tk : seen < 0 ? 0 : seen;
      most[r] = set(-__builtin_inff());
    }
    const int count = round_up(limits[R - 1], 16);
    int panel = 0;
    for (; panel + 4 <= count / 16; panel += 4) score_tile<R, 4>(row, panel, scale, bias, limits, most);
    for (; panel < count / 16; ++panel) score_tile<R, 1>(row, panel, scale, bias, limits, most);
    for (int r = 0; r < R; ++r) {
      const ptrdiff_t at = r * static_cast<ptrdiff_t>(keys);
      factor[r] = weights_of_row(scores + at, weights + at, count, limits[r], largest(most[r]));
    }
    int column = 0;
    for (; column + 32 <= columns; column += 32) value_tile<R, 2>(row, column, count, factor);
    if (column < columns) value_tile<R, 1>(row, column, count, factor);
  }

  template <int R>
  void attend_block(int row, int rows) const {
    if (rows == R) {
      attend_rows<R>(row);
    } else if constexpr (R > 1) {
      attend_block<R - 1>(row, rows);
    }
  }
};

void attention_i8(const AttentionArgs* a) {
  if (a->tq <= 0) return;
  const Int8Attention attention(a);
  if (!attention.fits()) return find_kernels("avx512vnni")->attention_f32(a);
  attention.pack_keys();
  attention.pack_values();
  const int blocks = (a->tq + kRows - 1) / kRows, size = a->tq / blocks, larger = a->tq % blocks;
  for (int b = 0, row = 0; b < blocks; ++b) {
    const int rows = size + (b < larger ? 1 : 0);
    attention.attend_block<kRows>(row, rows);
    row += rows;
  }
}

}  // namespace

void fill_attention_avx512vnni(Kernels* kernels) { kernels->attention_i8 = attention_i8; }

}  // namespace pocketuni
#endif
