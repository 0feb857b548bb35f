// The elementwise, normalization and conversion kernels, over the Vec and the vec_math.h that were included before.
#pragma once
#include <math.h>  // the C functions: a std template inlined here could be the copy that the linker keeps
#include <string.h>

#include <type_traits>

#include "nn.h"

namespace pocketuni {
namespace {

template <class F>
inline void map(const float* x, float* y, size_t n, F f) {
  for (size_t i = 0; i < n; i += 16) {  // f stands here once: some are long
    const bool whole = n - i >= 16;
    const int rest = static_cast<int>(n - i);
    const Vec v = f(whole ? load(x + i) : load_part(x + i, rest, set(0.0f)));
    whole ? store(y + i, v) : store_part(y + i, v, rest);
  }
}

inline Vec clip_of(Vec x, Vec low, Vec high) { return min(high, max(low, x)); }

void unary_f32(Unary op, const float* x, float* y, size_t n, float alpha, float beta) {
  const Vec zero = set(0.0f), one = set(1.0f), a = set(alpha), b = set(beta);
  switch (op) {
    case Unary::kRelu:
      return map(x, y, n, [=](Vec v) { return max(zero, v); });
    case Unary::kGelu:
      return map(x, y, n, gelu_of);
    case Unary::kGeluTanh:
      return map(x, y, n, gelu_tanh_of);
    case Unary::kSilu:
      return map(x, y, n, silu_of);
    case Unary::kTanh:
      return map(x, y, n, tanh_of);
    case Unary::kSigmoid:
      return map(x, y, n, sigmoid_of);
    case Unary::kErf:
      return map(x, y, n, erf_of);
    case Unary::kExp:
      return map(x, y, n, exp_of);
    case Unary::kLog:
      return map(x, y, n, log_of);
    case Unary::kSoftplus:
      return map(x, y, n, softplus_of);
    case Unary::kSqrt:
      return map(x, y, n, sqrt_of);
    case Unary::kRsqrt:
      return map(x, y, n, [=](Vec v) { return one / sqrt_of(v); });
    case Unary::kNeg:
      return map(x, y, n, negated);
    case Unary::kAbs:
      return map(x, y, n, abs_of);
    case Unary::kReciprocal:
      return map(x, y, n, [=](Vec v) { return one / v; });
    case Unary::kFloor:
      return map(x, y, n, floor_of);
    case Unary::kCeil:
      return map(x, y, n, ceil_of);
    case Unary::kRound:
      return map(x, y, n, round_even);
    case Unary::kElu:
      return map(x, y, n, [=](Vec v) { return if_less(v, zero, a * expm1_of_negative(min(zero, v)), v); });
    case Unary::kLeakyRelu:
      return map(x, y, n, [=](Vec v) { return if_less(v, zero, a * v, v); });
    case Unary::kHardSigmoid:
      return map(x, y, n, [=](Vec v) { return clip_of(v * a + b, zero, one); });
    case Unary::kHardSwish:
      return map(x, y, n, [=](Vec v) {  // the factor is cut where the gate has closed, so that -inf gives 0
        return max(set(-3.0f), v) * clip_of(v * set(1.0f / 6.0f) + set(0.5f), zero, one);
      });
    case Unary::kMish:
      return map(x, y, n, mish_of);
    case Unary::kClip:
      return map(x, y, n, [=](Vec v) { return clip_of(v, a, b); });
    case Unary::kScale:
      return map(x, y, n, [=](Vec v) { return v * a + b; });
    case Unary::kSin:
    case Unary::kCos:
      break;
  }
  unary_f32_ref(op, x, y, n, alpha, beta);
}

void act_row(Activation activation, float* y, int n) {
  const size_t count = static_cast<size_t>(n);
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      return map(y, y, count, [](Vec v) { return max(set(0.0f), v); });
    case Activation::kGelu:
      return map(y, y, count, gelu_of);
    case Activation::kGeluTanh:
      return map(y, y, count, gelu_tanh_of);
    case Activation::kSilu:
      return map(y, y, count, silu_of);
    case Activation::kTanh:
      return map(y, y, count, tanh_of);
    case Activation::kSigmoid:
      return map(y, y, count, sigmoid_of);
  }
}

// NaN in either comes out.
inline Vec max_nan(Vec x, Vec y) { return if_nan(x, x, max(x, y)); }
inline Vec min_nan(Vec x, Vec y) { return if_nan(x, x, min(x, y)); }

template <class F>
inline void map2(const float* a, int a_step, const float* b, int b_step, float* y, size_t n, F f) {
  if (n == 0) return;
  const Vec a0 = set(*a), b0 = set(*b);  // before y is written, which may be either
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    store(y + i, f(a_step != 0 ? load(a + i) : a0, b_step != 0 ? load(b + i) : b0));
  }
  const int rest = static_cast<int>(n - i);
  if (rest > 0) {
    const Vec x = a_step != 0 ? load_part(a + i, rest, set(1.0f)) : a0;
    store_part(y + i, f(x, b_step != 0 ? load_part(b + i, rest, set(1.0f)) : b0), rest);
  }
}

void binary_f32(Binary op, const float* a, int a_step, const float* b, int b_step, float* y, size_t n) {
  switch (op) {
    case Binary::kAdd:
      return map2(a, a_step, b, b_step, y, n, [](Vec u, Vec v) { return u + v; });
    case Binary::kSub:
      return map2(a, a_step, b, b_step, y, n, [](Vec u, Vec v) { return u - v; });
    case Binary::kMul:
      return map2(a, a_step, b, b_step, y, n, [](Vec u, Vec v) { return u * v; });
    case Binary::kDiv:
      return map2(a, a_step, b, b_step, y, n, [](Vec u, Vec v) { return u / v; });
    case Binary::kMin:
      return map2(a, a_step, b, b_step, y, n, min_nan);
    case Binary::kMax:
      return map2(a, a_step, b, b_step, y, n, max_nan);
    case Binary::kPow:
      break;
  }
  binary_f32_ref(op, a, a_step, b, b_step, y, n);
}

template <class F>
inline Vec fold(const float* x, size_t n, Vec start, F f) {
  Vec acc = start;
  size_t i = 0;
  for (; i + 16 <= n; i += 16) acc = f(acc, load(x + i));
  const int rest = static_cast<int>(n - i);
  return rest > 0 ? first(rest, f(acc, load_part(x + i, rest, start)), acc) : acc;
}

// The 16 lanes are a reduction of their own, of the same order: upper half onto lower.
inline float fold_lanes(Reduce op, Vec acc) {
  float lanes[32] = {};
  store(lanes, acc);
  for (int half = 8; half > 0; half /= 2) {
    const Vec low = load(lanes), high = load(lanes + half);
    store(lanes, op == Reduce::kProd ? low * high : op == Reduce::kMax ? max_nan(low, high) : min_nan(low, high));
  }
  return lanes[0];
}

float reduce_f32(Reduce op, const float* x, size_t n) {
  constexpr float kInfinity = __builtin_inff();
  switch (op) {
    case Reduce::kSum:
      return sum(fold(x, n, set(0.0f), [](Vec u, Vec v) { return u + v; }));
    case Reduce::kMax:
      return fold_lanes(op, fold(x, n, set(-kInfinity), max_nan));
    case Reduce::kMin:
      return fold_lanes(op, fold(x, n, set(kInfinity), min_nan));
    case Reduce::kProd:
      return fold_lanes(op, fold(x, n, set(1.0f), [](Vec u, Vec v) { return u * v; }));
  }
  return 0.0f;
}

// The sum of f over a row, in two sets of 16 lanes to hide the latency of the addition.
template <class F>
inline float sum_of_row(const float* x, int dim, F f) {
  Vec even = set(0.0f), odd = set(0.0f);
  int i = 0;
  for (; i + 32 <= dim; i += 32) {
    even = even + f(load(x + i));
    odd = odd + f(load(x + i + 16));
  }
  if (i + 16 <= dim) {
    even = even + f(load(x + i));
    i += 16;
  }
  if (i < dim) odd = odd + first(dim - i, f(load_part(x + i, dim - i, set(0.0f))), set(0.0f));
  return sum(even + odd);
}

// y = (x - mean) * inverse * gamma + beta; a null gamma or beta is left out.
inline void normalize_row(const float* x, int dim, float mean, float inverse, const float* gamma, const float* beta,
                          float* y) {
  const Vec m = set(mean), s = set(inverse), one = set(1.0f), zero = set(0.0f);
  int i = 0;
  for (; i + 16 <= dim; i += 16) {
    const Vec g = gamma != nullptr ? load(gamma + i) : one, b = beta != nullptr ? load(beta + i) : zero;
    store(y + i, fma((load(x + i) - m) * s, g, b));
  }
  const int rest = dim - i;
  if (rest > 0) {
    const Vec g = gamma != nullptr ? load_part(gamma + i, rest, one) : one;
    const Vec b = beta != nullptr ? load_part(beta + i, rest, zero) : zero;
    store_part(y + i, fma((load_part(x + i, rest, zero) - m) * s, g, b), rest);
  }
}

void layer_norm_f32(const float* x, int rows, int dim, const float* gamma, const float* beta, float eps, float* y) {
  const float count = static_cast<float>(dim);
  for (int r = 0; r < rows; ++r, x += dim, y += dim) {
    const float mean = sum_of_row(x, dim, [](Vec v) { return v; }) / count;
    const Vec m = set(mean);
    const float variance = sum_of_row(x, dim, [m](Vec v) { return (v - m) * (v - m); }) / count;
    normalize_row(x, dim, mean, 1.0f / sqrtf(variance + eps), gamma, beta, y);
  }
}

void rms_norm_f32(const float* x, int rows, int dim, const float* gamma, float eps, float* y) {
  for (int r = 0; r < rows; ++r, x += dim, y += dim) {
    const float square = sum_of_row(x, dim, [](Vec v) { return v * v; }) / static_cast<float>(dim);
    normalize_row(x, dim, 0.0f, 1.0f / sqrtf(square + eps), gamma, nullptr, y);
  }
}

void softmax_f32(const float* x, int rows, int dim, float* y) {
  const Vec none = set(-__builtin_inff());
  for (int r = 0; r < rows; ++r, x += dim, y += dim) {
    const float most = largest(fold(x, static_cast<size_t>(dim), none, [](Vec u, Vec v) { return max(u, v); }));
    const Vec shift = set(most == -__builtin_inff() ? 0.0f : most);
    Vec total = set(0.0f);
    for (int i = 0; i < dim; i += 16) {
      const int count = dim - i < 16 ? dim - i : 16;
      const Vec v = count == 16 ? load(x + i) : load_part(x + i, count, none);
      const Vec e = exp2_of_negative((v - shift) * set(kLog2e));
      total = total + e;
      if (count == 16) {
        store(y + i, e);
      } else {
        store_part(y + i, e, count);
      }
    }
    const float all = sum(total);
    const Vec inverse = set(all == 0.0f ? 0.0f : 1.0f / all);
    map(y, y, static_cast<size_t>(dim), [inverse](Vec v) { return v * inverse; });
  }
}

void dequantize_i8(const int8_t* q, float scale, int n, float* y) {
  const Vec s = set(scale);
  int i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, from_i8(q + i) * s);
  for (; i < n; ++i) y[i] = static_cast<float>(q[i]) * scale;
}

void f16_to_f32(const uint16_t* x, float* y, size_t n) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, from_f16(x + i));
  if (i == n) return;
  uint16_t rest[16] = {};
  memcpy(rest, x + i, (n - i) * sizeof *x);
  store_part(y + i, from_f16(rest), static_cast<int>(n - i));
}

void dequantize_i4(const uint8_t* groups, int n, float* y) {
  for (int g = 0; g < n / kGroup; ++g, groups += 18, y += kGroup) {
    uint16_t half[16] = {};
    memcpy(half, groups, sizeof *half);
    float scale[16];
    store(scale, from_f16(half));
    int8_t nibbles[32];
    for (int i = 0; i < 16; ++i) {
      nibbles[i] = static_cast<int8_t>((groups[2 + i] & 15) - 8);
      nibbles[16 + i] = static_cast<int8_t>((groups[2 + i] >> 4) - 8);
    }
    dequantize_i8(nibbles, scale[0], kGroup, y);
  }
}

void fill_nn(Kernels* kernels) {
  kernels->pack_f32 = pack_f32;
  kernels->attention_f32 = attention_f32;
  kernels->attention_i8 = attention_f32;
  kernels->layer_norm_f32 = layer_norm_f32;
  kernels->rms_norm_f32 = rms_norm_f32;
  kernels->softmax_f32 = softmax_f32;
  kernels->unary_f32 = unary_f32;
  kernels->binary_f32 = binary_f32;
  kernels->reduce_f32 = reduce_f32;
  kernels->dequantize_i8 = dequantize_i8;
  kernels->dequantize_i4 = dequantize_i4;
  kernels->f16_to_f32 = f16_to_f32;
}

}  // namespace
}  // namespace pocketuni
