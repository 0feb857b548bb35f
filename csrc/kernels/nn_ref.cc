// Elementwise, normalization and attention kernels in the plainest form: what the SIMD versions are compared with.
// NaN always comes out as NaN; infinities give the limit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "nn.h"

namespace pocketuni {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// x * gate, where a closed gate also stops -inf.
float gated(float x, float gate) { return gate == 0.0f ? 0.0f : x * gate; }
float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
float silu(float x) { return gated(x, sigmoid(x)); }
float gelu(float x) { return gated(x, 0.5f * std::erfc(x * -0.70710678f)); }
float gelu_tanh(float x) { return gated(x, sigmoid(1.5957691f * (x + 0.044715f * x * x * x))); }
float softplus(float x) { return std::fmax(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))); }
// Written so that a comparison with NaN leaves x.
float clip(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

float half_to_float(uint16_t h) {
  const uint32_t exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;
  float value = std::ldexp(static_cast<float>(exponent == 0 ? mantissa : mantissa + 1024),
                           static_cast<int>(exponent == 0 ? 1 : exponent) - 25);
  if (exponent == 31) value = mantissa == 0 ? kInfinity : std::numeric_limits<float>::quiet_NaN();
  return (h & 0x8000u) != 0 ? -value : value;
}

float unary(Unary op, float x, float alpha, float beta) {
  switch (op) {
    case Unary::kRelu:
      return x < 0.0f ? 0.0f : x;
    case Unary::kGelu:
      return gelu(x);
    case Unary::kGeluTanh:
      return gelu_tanh(x);
    case Unary::kSilu:
      return silu(x);
    case Unary::kTanh:
      return std::tanh(x);
    case Unary::kSigmoid:
      return sigmoid(x);
    case Unary::kErf:
      return std::erf(x);
    case Unary::kExp:
      return std::exp(x);
    case Unary::kLog:
      return std::log(x);
    case Unary::kSqrt:
      return std::sqrt(x);
    case Unary::kRsqrt:
      return 1.0f / std::sqrt(x);
    case Unary::kNeg:
      return -x;
    case Unary::kAbs:
      return std::fabs(x);
    case Unary::kReciprocal:
      return 1.0f / x;
    case Unary::kSin:
      return std::sin(x);
    case Unary::kCos:
      return std::cos(x);
    case Unary::kFloor:
      return std::floor(x);
    case Unary::kCeil:
      return std::ceil(x);
    case Unary::kRound:
      return std::nearbyint(x);  // half to even
    case Unary::kSoftplus:
      return std::isnan(x) ? x : softplus(x);
    case Unary::kElu:
      return x < 0.0f ? alpha * std::expm1(x) : x;
    case Unary::kLeakyRelu:
      return x < 0.0f ? alpha * x : x;
    case Unary::kHardSigmoid:
      return clip(alpha * x + beta, 0.0f, 1.0f);
    case Unary::kHardSwish:
      return gated(x, clip(x * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f));
    case Unary::kMish:
      return std::isnan(x) ? x : gated(x, std::tanh(softplus(x)));
    case Unary::kClip:
      return clip(x, alpha, beta);
    case Unary::kScale:
      return x * alpha + beta;
  }
  return x;
}

float larger(float a, float b) { return std::isnan(a) || a > b ? a : b; }  // NaN in either wins
float smaller(float a, float b) { return std::isnan(a) || a < b ? a : b; }

float binary(Binary op, float a, float b) {
  switch (op) {
    case Binary::kAdd:
      return a + b;
    case Binary::kSub:
      return a - b;
    case Binary::kMul:
      return a * b;
    case Binary::kDiv:
      return a / b;
    case Binary::kPow:
      return std::pow(a, b);
    case Binary::kMin:
      return smaller(a, b);
    case Binary::kMax:
      return larger(a, b);
  }
  return a;
}

float combine(Reduce op, float a, float b) {
  switch (op) {
    case Reduce::kSum:
      return a + b;
    case Reduce::kMax:
      return larger(a, b);
    case Reduce::kMin:
      return smaller(a, b);
    case Reduce::kProd:
      return a * b;
  }
  return a;
}

float identity(Reduce op) {
  switch (op) {
    case Reduce::kSum:
      return 0.0f;
    case Reduce::kMax:
      return -kInfinity;
    case Reduce::kMin:
      return kInfinity;
    case Reduce::kProd:
      return 1.0f;
  }
  return 0.0f;
}

// The order is a contract: every ISA has these 16 lanes and folds the upper half onto the lower.
float reduce_f32(Reduce op, const float* x, size_t n) {
  float lanes[16];
  std::fill(lanes, lanes + 16, identity(op));
  for (size_t i = 0; i < n; ++i) lanes[i % 16] = combine(op, lanes[i % 16], x[i]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = combine(op, lanes[i], lanes[i + half]);
  }
  return lanes[0];
}

void pack_f32(const float* b, ptrdiff_t k_stride, ptrdiff_t n_stride, int k, int n, float* tiles) {
  for (int panel = 0; panel < n; panel += kPanel) {
    for (int i = 0; i < k; ++i) {
      for (int j = panel; j < panel + kPanel; ++j) *tiles++ = j < n ? b[i * k_stride + j * n_stride] : 0.0f;
    }
  }
}

void layer_norm_f32(const float* x, int rows, int dim, const float* gamma, const float* beta, float eps, float* y) {
  for (int r = 0; r < rows; ++r, x += dim, y += dim) {
    double sum = 0.0, squares = 0.0;
    for (int i = 0; i < dim; ++i) sum += x[i];
    const double mean = sum / dim;
    for (int i = 0; i < dim; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double inverse = 1.0 / std::sqrt(squares / dim + static_cast<double>(eps));
    for (int i = 0; i < dim; ++i) {
      const float normal = static_cast<float>((x[i] - mean) * inverse);
      y[i] = normal * (gamma != nullptr ? gamma[i] : 1.0f) + (beta != nullptr ? beta[i] : 0.0f);
    }
  }
}

void rms_norm_f32(const float* x, int rows, int dim, const float* gamma, float eps, float* y) {
  for (int r = 0; r < rows; ++r, x += dim, y += dim) {
    double squares = 0.0;
    for (int i = 0; i < dim; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double inverse = 1.0 / std::sqrt(squares / dim + static_cast<double>(eps));
    for (int i = 0; i < dim; ++i) {
      y[i] = static_cast<float>(x[i] * inverse) * (gamma != nullptr ? gamma[i] : 1.0f);
    }
  }
}

// exp(x - max) in place; the sum. A maximum of -inf (every key is masked, or the row is empty) is taken as 0, so that
// masked keys become 0 and not NaN, and a NaN among them still shows.
float exponentials(const float* x, int n, float* y) {
  float max = -kInfinity, sum = 0.0f;
  for (int i = 0; i < n; ++i) max = larger(max, x[i]);
  if (max == -kInfinity) max = 0.0f;
  for (int i = 0; i < n; ++i) sum += y[i] = std::exp(x[i] - max);
  return sum;
}

void softmax_f32(const float* x, int rows, int dim, float* y) {
  for (int r = 0; r < rows; ++r, x += dim, y += dim) {
    const float sum = exponentials(x, dim, y);
    for (int i = 0; i < dim; ++i) y[i] = sum == 0.0f ? 0.0f : y[i] / sum;
  }
}

void attention_f32(const AttentionArgs* a) {
  for (int i = 0; i < a->tq; ++i) {
    const float* q = a->q + i * a->q_stride;
    float* out = a->out + i * a->out_stride;
    float* scores = a->scratch;
    const int keys = a->causal != 0 ? std::clamp(i + 1 + a->tk - a->tq, 0, a->tk) : a->tk;
    for (int j = 0; j < keys; ++j) {
      float dot = 0.0f;
      for (int c = 0; c < a->d; ++c) dot = std::fma(q[c], a->k[j * a->k_stride + c], dot);
      scores[j] = dot * a->scale + (a->mask != nullptr ? a->mask[i * a->mask_stride + j] : 0.0f);
    }
    const float sum = exponentials(scores, keys, scores);
    for (int c = 0; c < a->dv; ++c) {
      float value = 0.0f;
      for (int j = 0; j < keys; ++j) value = std::fma(scores[j], a->v[j * a->v_stride + c], value);
      out[c] = sum == 0.0f ? 0.0f : value / sum;
    }
  }
}

void dequantize_i8(const int8_t* q, float scale, int n, float* y) {
  for (int i = 0; i < n; ++i) y[i] = static_cast<float>(q[i]) * scale;
}

void dequantize_i4(const uint8_t* groups, int n, float* y) {
  for (int g = 0; g < n / kGroup; ++g, groups += 18, y += kGroup) {
    uint16_t half;
    std::memcpy(&half, groups, 2);
    const float scale = half_to_float(half);
    for (int i = 0; i < 16; ++i) {
      y[i] = static_cast<float>((groups[2 + i] & 15) - 8) * scale;
      y[16 + i] = static_cast<float>((groups[2 + i] >> 4) - 8) * scale;
    }
  }
}

}  // namespace

void f16_to_f32_ref(const uint16_t* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = half_to_float(x[i]);
}

void unary_f32_ref(Unary op, const float* x, float* y, size_t n, float alpha, float beta) {
  for (size_t i = 0; i < n; ++i) y[i] = unary(op, x[i], alpha, beta);
}

void binary_f32_ref(Binary op, const float* a, int a_step, const float* b, int b_step, float* y, size_t n) {
  if (n == 0) return;
  const float a0 = *a, b0 = *b;  // y may be a or b even where that is one value
  for (size_t i = 0; i < n; ++i) y[i] = binary(op, a_step != 0 ? a[i] : a0, b_step != 0 ? b[i] : b0);
}

void act_row_ref(Activation activation, float* y, int n) {
  for (int i = 0; i < n; ++i) {
    switch (activation) {
      case Activation::kNone:
        break;
      case Activation::kRelu:
        y[i] = unary(Unary::kRelu, y[i], 0.0f, 0.0f);
        break;
      case Activation::kGelu:
        y[i] = gelu(y[i]);
        break;
      case Activation::kGeluTanh:
        y[i] = gelu_tanh(y[i]);
        break;
      case Activation::kSilu:
        y[i] = silu(y[i]);
        break;
      case Activation::kTanh:
        y[i] = std::tanh(y[i]);
        break;
      case Activation::kSigmoid:
        y[i] = sigmoid(y[i]);
        break;
    }
  }
}

void fill_nn_ref(Kernels* kernels) {
  fill_conv_ref(kernels);
  fill_fft_ref(kernels);
  kernels->pack_f32 = pack_f32;
  kernels->attention_f32 = attention_f32;
  kernels->attention_i8 = attention_f32;
  kernels->layer_norm_f32 = layer_norm_f32;
  kernels->rms_norm_f32 = rms_norm_f32;
  kernels->softmax_f32 = softmax_f32;
  kernels->unary_f32 = unary_f32_ref;
  kernels->binary_f32 = binary_f32_ref;
  kernels->reduce_f32 = reduce_f32;
  kernels->dequantize_i8 = dequantize_i8;
  kernels->dequantize_i4 = dequantize_i4;
  kernels->f16_to_f32 = f16_to_f32_ref;
}

}  // namespace pocketuni
