// The nn kernels of every ISA that this CPU runs: against the reference, against double where a bound is promised,
// next to pages that may not be touched, and row by row. `--bench` prints times instead.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "guarded.h"
#include "kernels/check.h"
#include "kernels/kernels.h"

using namespace pocketuni;

namespace {

const float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();
std::mt19937 rng(7);

float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(rng); }
void fill(const Guarded<float>& x, float low, float high) {
  for (size_t i = 0; i < x.size(); ++i) x[i] = uniform(low, high);
}

bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }
bool close(float got, float want, float absolute, float relative) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  if (got == want) return true;
  return std::fabs(got - want) <= absolute + relative * std::fabs(want);
}

std::vector<int> sizes() {
  std::vector<int> all;
  for (int n = 1; n <= 67; ++n) all.push_back(n);
  all.push_back(384);
  return all;
}

struct UnaryCase {
  Unary op;
  const char* name;
  float low, high, absolute, relative;
};
const UnaryCase kUnary[] = {
    {Unary::kRelu, "relu", -9, 9, 0, 0},
    {Unary::kGelu, "gelu", -9, 9, 1e-6f, 0},
    {Unary::kGeluTanh, "gelu_tanh", -9, 9, 1e-6f, 0},
    {Unary::kSilu, "silu", -30, 30, 1e-6f, 3e-7f},
    {Unary::kTanh, "tanh", -9, 9, 0, 5e-7f},
    {Unary::kSigmoid, "sigmoid", -80, 80, 1e-37f, 5e-7f},
    {Unary::kErf, "erf", -6, 6, 5e-7f, 0},
    {Unary::kExp, "exp", -110, 95, 3e-45f, 3e-7f},
    {Unary::kLog, "log", 0, 9, 0, 4e-7f},
    {Unary::kSqrt, "sqrt", -1, 9, 0, 0},
    {Unary::kRsqrt, "rsqrt", 0, 9, 0, 0},
    {Unary::kNeg, "neg", -9, 9, 0, 0},
    {Unary::kAbs, "abs", -9, 9, 0, 0},
    {Unary::kReciprocal, "reciprocal", -9, 9, 0, 0},
    {Unary::kSin, "sin", -99, 99, 0, 0},
    {Unary::kCos, "cos", -99, 99, 0, 0},
    {Unary::kFloor, "floor", -9, 9, 0, 0},
    {Unary::kCeil, "ceil", -9, 9, 0, 0},
    {Unary::kRound, "round", -9, 9, 0, 0},
    {Unary::kSoftplus, "softplus", -30, 30, 1e-37f, 5e-7f},
    {Unary::kElu, "elu", -20, 20, 0, 5e-7f},
    {Unary::kLeakyRelu, "leaky_relu", -9, 9, 0, 0},
    {Unary::kHardSigmoid, "hard_sigmoid", -9, 9, 0, 0},
    {Unary::kHardSwish, "hard_swish", -9, 9, 0, 0},
    {Unary::kMish, "mish", -30, 30, 1e-6f, 5e-7f},
    {Unary::kClip, "clip", -9, 9, 0, 0},
    {Unary::kScale, "scale", -9, 9, 0, 0},
};

const float kSpecial[] = {0.0f,    -0.0f,      kInf,   -kInf,   kNan,     -kNan,  1e-45f,  -1e-45f, 1e-38f,
                          -1e-38f, 1e38f,      -1e38f, 3.4e38f, -3.4e38f, 0.5f,   1.5f,    2.5f,    -0.5f,
                          -2.5f,   8388609.0f, 88.8f,  -87.5f,  -103.9f,  100.0f, -200.0f, 1.0f,    -1.0f};

void test_unary(const Kernels& k, const Kernels& ref) {
  for (const UnaryCase& c : kUnary) {
    const float alpha = c.op == Unary::kClip ? -2.5f : 0.3f, beta = c.op == Unary::kClip ? 4.0f : 0.4f;
    for (int n : sizes()) {
      Guarded<float> x(n), y(n), want(n);
      fill(x, c.low, c.high);
      ref.unary_f32(c.op, x.data(), want.data(), n, alpha, beta);
      k.unary_f32(c.op, x.data(), y.data(), n, alpha, beta);
      k.unary_f32(c.op, x.data(), x.data(), n, alpha, beta);  // in place
      for (int i = 0; i < n; ++i) {
        if (!CHECK(close(y[i], want[i], c.absolute, c.relative), "%s %s n %d: %.9g, want %.9g", k.isa, c.name, n, y[i],
                   want[i]))
          break;
        if (!CHECK(same(x[i], y[i]) || std::isnan(y[i]), "%s %s n %d in place", k.isa, c.name, n)) break;
      }
    }
    for (float special : kSpecial) {
      float x[17], y[17], want;
      std::fill(x, x + 17, special);
      ref.unary_f32(c.op, x, &want, 1, alpha, beta);
      k.unary_f32(c.op, x, y, 17, alpha, beta);
      for (float got : y) {
        if (!CHECK(close(got, want, c.absolute + 2e-38f, c.relative), "%s %s(%.9g): %.9g, want %.9g", k.isa, c.name,
                   special, got, want))
          break;
      }
    }
  }
}

// Units in the last place of the float nearest to `want`.
double ulps(float got, double want) {
  int exponent;
  std::frexp(static_cast<float>(want), &exponent);
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent, -125) - 24);
}

void test_accuracy(const Kernels& k) {
  constexpr int kCount = 1 << 20;
  std::vector<float> x(kCount), y(kCount);
  for (int i = 0; i < kCount; ++i) x[i] = -104.0f + 192.7f * static_cast<float>(i) / kCount;
  k.unary_f32(Unary::kExp, x.data(), y.data(), kCount, 0, 0);
  double worst = 0;
  for (int i = 0; i < kCount; ++i) worst = std::max(worst, ulps(y[i], std::exp(static_cast<double>(x[i]))));
  CHECK(worst <= 2.0, "%s exp: %.3f ULP", k.isa, worst);
  std::printf("%-10s exp %.3f ULP", k.isa, worst);

  for (bool near_one : {true, false}) {  // else of every exponent
    const uint32_t first = near_one ? 0x3f000000 : 0x00800000, last = near_one ? 0x40000000 : 0x7f800000;
    for (int i = 0; i < kCount; ++i) {
      const uint32_t bits = first + static_cast<uint32_t>(uint64_t{last - first} * static_cast<uint64_t>(i) / kCount);
      std::memcpy(&x[i], &bits, sizeof bits);
    }
    k.unary_f32(Unary::kLog, x.data(), y.data(), kCount, 0, 0);
    worst = 0;
    for (int i = 0; i < kCount; ++i) worst = std::max(worst, ulps(y[i], std::log(static_cast<double>(x[i]))));
    CHECK(worst <= 2.0, "%s log: %.3f ULP", k.isa, worst);
    std::printf(", log %.3f ULP", worst);
  }

  struct Bound {
    Unary op;
    const char* name;
    double (*exact)(double);
  };
  const Bound bounds[] = {
      {Unary::kGelu, "gelu", [](double v) { return 0.5 * v * std::erfc(-v * std::sqrt(0.5)); }},
      {Unary::kSoftplus, "softplus", [](double v) { return std::log1p(std::exp(v)); }},
      {Unary::kErf, "erf", [](double v) { return std::erf(v); }},
      {Unary::kTanh, "tanh", [](double v) { return std::tanh(v); }},
      {Unary::kSigmoid, "sigmoid", [](double v) { return 1 / (1 + std::exp(-v)); }},
      {Unary::kSilu, "silu", [](double v) { return v / (1 + std::exp(-v)); }},
      {Unary::kGeluTanh, "gelu_tanh", [](double v) {
         return v / (1 + std::exp(-2 * std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v)));
       }}};
  for (int i = 0; i < kCount; ++i) x[i] = -12.0f + 24.0f * static_cast<float>(i) / kCount;
  for (const Bound& b : bounds) {
    k.unary_f32(b.op, x.data(), y.data(), kCount, 0, 0);
    double error = 0;
    for (int i = 0; i < kCount; ++i) {
      // Relative where the result is above 1: the spacing of floats at 12 is already 9.5e-7.
      const double want = b.exact(x[i]);
      error = std::max(error, std::fabs(y[i] - want) / std::max(1.0, std::fabs(want)));
    }
    CHECK(error <= 1e-6, "%s %s: %g", k.isa, b.name, error);
    std::printf(", %s %.2g", b.name, error);
  }
  std::printf("\n");
}

void test_binary(const Kernels& k, const Kernels& ref) {
  for (Binary op : {Binary::kAdd, Binary::kSub, Binary::kMul, Binary::kDiv, Binary::kPow, Binary::kMin, Binary::kMax}) {
    for (int n : sizes()) {
      for (int steps = 0; steps < 4; ++steps) {
        const int a_step = steps & 1, b_step = steps >> 1;
        Guarded<float> a(a_step ? n : 1), b(b_step ? n : 1), y(n), want(n);
        fill(a, 0.1f, 9), fill(b, -3, 3);
        if (n % 5 == 0) a[a.size() - 1] = kNan;
        if (n % 7 == 0) b[b.size() / 2] = kNan;
        ref.binary_f32(op, a.data(), a_step, b.data(), b_step, want.data(), n);
        k.binary_f32(op, a.data(), a_step, b.data(), b_step, y.data(), n);
        for (int i = 0; i < n; ++i) {
          if (!CHECK(close(y[i], want[i], 0, 0), "%s binary %d n %d: %g, want %g", k.isa, static_cast<int>(op), n, y[i],
                     want[i]))
            break;
        }
        if (a_step == 1) {
          k.binary_f32(op, a.data(), 1, b.data(), b_step, a.data(), n);
          for (int i = 0; i < n; ++i) CHECK(close(a[i], want[i], 0, 0), "%s binary in place", k.isa);
        }
      }
    }
  }
}

void test_reduce(const Kernels& k, const Kernels& ref) {
  for (Reduce op : {Reduce::kSum, Reduce::kMax, Reduce::kMin, Reduce::kProd}) {
    for (int n = 0; n <= 200; ++n) {
      for (int place = -1; place < n; place += 1 + n / 3) {  // of a NaN
        Guarded<float> x(n);
        fill(x, -1.5f, 1.5f);
        if (place >= 0) x[place] = kNan;
        const float got = k.reduce_f32(op, x.data(), n), want = ref.reduce_f32(op, x.data(), n);
        CHECK(same(got, want) || (std::isnan(got) && std::isnan(want)), "%s reduce %d n %d: %.9g, want %.9g", k.isa,
              static_cast<int>(op), n, got, want);
      }
    }
  }
}

void test_norms(const Kernels& k, const Kernels& ref) {
  for (int dim : sizes()) {
    const int rows = 3;
    for (int form = 0; form < 3; ++form) {  // gamma and beta, gamma alone, neither
      Guarded<float> x(rows * dim), gamma(dim), beta(dim), y(rows * dim), want(rows * dim);
      fill(x, -2, 4), fill(gamma, 0.5f, 2), fill(beta, -1, 1);
      if (dim == 20) x[dim + 3] = kNan;
      const float *g = form < 2 ? gamma.data() : nullptr, *b = form < 1 ? beta.data() : nullptr;
      ref.layer_norm_f32(x.data(), rows, dim, g, b, 1e-5f, want.data());
      k.layer_norm_f32(x.data(), rows, dim, g, b, 1e-5f, y.data());
      for (int i = 0; i < rows * dim; ++i) {
        if (!CHECK(close(y[i], want[i], 2e-5f, 1e-5f), "%s layer_norm %d: %g, want %g", k.isa, dim, y[i], want[i]))
          break;
      }
      ref.rms_norm_f32(x.data(), rows, dim, g, 1e-6f, want.data());
      k.rms_norm_f32(x.data(), rows, dim, g, 1e-6f, x.data());  // in place
      for (int i = 0; i < rows * dim; ++i) {
        if (!CHECK(close(x[i], want[i], 1e-6f, 1e-6f), "%s rms_norm %d: %g, want %g", k.isa, dim, x[i], want[i])) break;
      }
    }
  }
}

void test_softmax(const Kernels& k, const Kernels& ref) {
  for (int dim : sizes()) {
    const int rows = 5;
    Guarded<float> x(rows * dim), y(rows * dim), want(rows * dim), alone(dim);
    fill(x, -20, 20);
    for (int i = 0; i < dim; ++i) x[dim + i] = -kInf;  // all masked
    x[2 * dim + dim / 2] = kNan;
    if (dim > 1) x[3 * dim] = -kInf;
    for (int i = 0; i < dim; ++i) x[4 * dim + i] = -3.4e38f;  // a finite mask over everything: equal weights
    ref.softmax_f32(x.data(), rows, dim, want.data());
    k.softmax_f32(x.data(), rows, dim, y.data());
    for (int i = 0; i < rows * dim; ++i) {
      if (!CHECK(close(y[i], want[i], 1e-7f, 2e-6f), "%s softmax %d: %g, want %g", k.isa, dim, y[i], want[i])) break;
    }
    k.softmax_f32(x.data() + 3 * dim, 1, dim, alone.data());
    for (int i = 0; i < dim; ++i) CHECK(same(alone[i], y[3 * dim + i]), "%s softmax %d row alone", k.isa, dim);
  }
}

struct Attention {
  int tq, tk, d, dv, mask, causal;  // mask: 0 none, 1 one row for all, 2 whole
};

AttentionArgs attention_args(const Attention& c, const Guarded<float>& q, const Guarded<float>& keys,
                             const Guarded<float>& values, const Guarded<float>& mask, const Guarded<float>& out,
                             const Guarded<float>& scratch) {
  AttentionArgs a{};
  a.q = q.data(), a.k = keys.data(), a.v = values.data(), a.out = out.data();
  a.q_stride = c.d + 3, a.k_stride = c.d + 1, a.v_stride = c.dv + 2, a.out_stride = c.dv + 1;
  a.mask = c.mask == 0 ? nullptr : mask.data();
  a.mask_stride = c.mask == 2 ? c.tk : 0;
  a.tq = c.tq, a.tk = c.tk, a.d = c.d, a.dv = c.dv, a.causal = c.causal;
  a.scale = 1.0f / std::sqrt(static_cast<float>(c.d));
  a.scratch = scratch.data();
  return a;
}

// `kernel` of k against attention_f32 of the reference.
void test_attention_case(const Kernels& k, const Kernels& ref, void (*kernel)(const AttentionArgs*), float tolerance,
                         const Attention& c, bool poisoned) {
  const auto extent = [](int rows, int stride, int width) { return static_cast<size_t>((rows - 1) * stride + width); };
  Guarded<float> q(extent(c.tq, c.d + 3, c.d)), keys(extent(c.tk, c.d + 1, c.d)), values(extent(c.tk, c.dv + 2, c.dv));
  Guarded<float> mask(c.mask == 2 ? c.tq * c.tk : c.tk), scratch(attention_scratch_floats(c.tk, c.d, c.dv));
  Guarded<float> out(extent(c.tq, c.dv + 1, c.dv)), want(out.size()), alone(c.dv);
  fill(q, -2, 2), fill(keys, -2, 2), fill(values, -2, 2), fill(scratch, kNan, kNan);
  for (size_t i = 0; i < scratch.size(); ++i) scratch[i] = kNan;  // what was there must not matter
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = uniform(0, 1) < 0.3f ? -kInf : uniform(-1, 1);
  if (c.mask == 2) std::fill(mask.data(), mask.data() + c.tk, -kInf);  // the first query sees nothing
  if (poisoned) {
    q[(c.tq - 1) * (c.d + 3)] = kNan;                     // the last query
    if (c.causal != 0) values[values.size() - 1] = kNan;  // a value that the last query alone sees
  }
  const AttentionArgs to_want = [&] {
    AttentionArgs a = attention_args(c, q, keys, values, mask, want, scratch);
    return a;
  }();
  ref.attention_f32(&to_want);
  for (size_t i = 0; i < scratch.size(); ++i) scratch[i] = kNan;
  const AttentionArgs args = attention_args(c, q, keys, values, mask, out, scratch);
  kernel(&args);
  for (int i = 0; i < c.tq; ++i) {
    for (int j = 0; j < c.dv; ++j) {
      const float got = out[i * (c.dv + 1) + j], expected = want[i * (c.dv + 1) + j];
      if (!CHECK(close(got, expected, tolerance, tolerance),
                 "%s attention %d x %d, d %d, dv %d, mask %d, causal %d, row %d: %g, want %g", k.isa, c.tq, c.tk, c.d,
                 c.dv, c.mask, c.causal, i, got, expected))
        return;
    }
    if (c.causal != 0) continue;  // a query alone would be the last one
    AttentionArgs one = args;
    one.q += i * one.q_stride, one.out = alone.data(), one.tq = 1;
    if (one.mask != nullptr) one.mask += i * one.mask_stride;
    kernel(&one);
    for (int j = 0; j < c.dv; ++j) {
      if (!CHECK(same(alone[j], out[i * (c.dv + 1) + j]) || std::isnan(alone[j]), "%s attention row %d of %d alone",
                 k.isa, i, c.tq))
        return;
    }
  }
}

// tolerance: of attention_i8 the error of rounding, measured at 0.02 for values up to 2.
void test_attention(const Kernels& k, const Kernels& ref, void (*kernel)(const AttentionArgs*), float tolerance) {
  for (int tq : {1, 2, 3, 5, 6, 7, 8, 9, 13, 16, 17, 33, 67}) {
    for (int tk : {1, 2, 15, 16, 17, 31, 33, 64, 67}) {
      for (int dims = 0; dims < 4; ++dims) {
        const int d = (const int[]){32, 5, 64, 19}[dims], dv = (const int[]){32, 16, 64, 37}[dims];
        for (int mask = 0; mask < 3; ++mask) {
          for (int causal = 0; causal < 2; ++causal) {
            test_attention_case(k, ref, kernel, tolerance, {tq, tk, d, dv, mask, causal}, false);
            test_attention_case(k, ref, kernel, tolerance, {tq, tk, d, dv, mask, causal}, true);
          }
        }
      }
    }
  }
  test_attention_case(k, ref, kernel, tolerance, {128, 128, 32, 32, 1, 0}, false);
  test_attention_case(k, ref, kernel, tolerance, {16, 256, 32, 48, 2, 1}, false);
  test_attention_case(k, ref, kernel, tolerance, {40, 40, 128, 128, 0, 1}, false);
}

void test_conversions(const Kernels& k, const Kernels& ref) {
  for (int n : sizes()) {
    Guarded<int8_t> q(n);
    Guarded<float> y(n), want(n);
    for (int i = 0; i < n; ++i) q[i] = static_cast<int8_t>(rng());
    ref.dequantize_i8(q.data(), 0.037f, n, want.data());
    k.dequantize_i8(q.data(), 0.037f, n, y.data());
    for (int i = 0; i < n; ++i) CHECK(same(y[i], want[i]), "%s dequantize_i8 %d", k.isa, n);
  }
  for (int n = 32; n <= 128; n += 32) {
    Guarded<uint8_t> groups(n / 32 * 18);
    Guarded<float> y(n), want(n);
    for (size_t i = 0; i < groups.size(); ++i) groups[i] = static_cast<uint8_t>(rng());
    for (int g = 0; g < n / 32; ++g) groups[18 * g + 1] &= 0x3f;  // a finite scale
    ref.dequantize_i4(groups.data(), n, want.data());
    k.dequantize_i4(groups.data(), n, y.data());
    for (int i = 0; i < n; ++i) CHECK(same(y[i], want[i]), "%s dequantize_i4 %d", k.isa, n);
  }
  for (int n : {1, 7, 15, 16, 17, 33, 65536}) {
    Guarded<uint16_t> x(n);
    Guarded<float> y(n), want(n);
    for (int i = 0; i < n; ++i) x[i] = static_cast<uint16_t>(n == 65536 ? i : rng());
    ref.f16_to_f32(x.data(), want.data(), n);
    k.f16_to_f32(x.data(), y.data(), n);
    for (int i = 0; i < n; ++i) {
      CHECK(same(y[i], want[i]) || (std::isnan(y[i]) && std::isnan(want[i])), "%s f16 %04x", k.isa, x[i]);
    }
  }
}

void test_pack(const Kernels& k, const Kernels& ref) {
  for (int rows : {1, 3, 4, 5, 19, 32}) {
    for (int n : {1, 15, 16, 17, 40, 64}) {
      for (int layout = 0; layout < 3; ++layout) {
        const ptrdiff_t k_stride = layout == 0 ? n + 2 : layout == 1 ? 1 : 2 * n;
        const ptrdiff_t n_stride = layout == 0 ? 1 : layout == 1 ? rows + 1 : 2;
        Guarded<float> b((rows - 1) * k_stride + (n - 1) * n_stride + 1);
        Guarded<float> y((n + 15) / 16 * 16 * rows), want(y.size());
        fill(b, -1, 1);
        ref.pack_f32(b.data(), k_stride, n_stride, rows, n, want.data());
        k.pack_f32(b.data(), k_stride, n_stride, rows, n, y.data());
        CHECK(std::memcmp(y.data(), want.data(), y.size() * sizeof(float)) == 0, "%s pack %d x %d, layout %d", k.isa,
              rows, n, layout);
      }
    }
  }
}

template <class F>
double best_us(F f) {
  double best = 1e30;
  for (int round = 0; round < 30; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 20; ++i) f();
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count() / 20);
  }
  return best;
}

void bench(const Kernels& k) {
  for (int t : {1, 16, 128, 256}) {
    const int heads = 12, d = 32, width = heads * d;
    Guarded<float> qkv(static_cast<size_t>(t) * 3 * width), out(static_cast<size_t>(t) * width), mask(t);
    Guarded<float> scratch(attention_scratch_floats(t, d, d));
    fill(qkv, -1, 1), fill(mask, 0, 0);
    for (const bool int8 : {false, true}) {
      const double us = best_us([&] {
        for (int h = 0; h < heads; ++h) {
          AttentionArgs a{};
          a.q = qkv.data() + h * d, a.k = a.q + width, a.v = a.k + width, a.out = out.data() + h * d;
          a.q_stride = a.k_stride = a.v_stride = 3 * width, a.out_stride = width;
          a.mask = mask.data(), a.tq = a.tk = t, a.d = a.dv = d, a.scale = 0.17f, a.scratch = scratch.data();
          (int8 ? k.attention_i8 : k.attention_f32)(&a);
        }
      });
      std::printf("%-10s attention_%s %2d x %3d x %3d x %d: %8.1f us, %6.1f GFLOP/s\n", k.isa, int8 ? "i8" : "f32",
                  heads, t, t, d, us, 4e-3 * heads * t * t * d / us);
    }
  }
  Guarded<float> x(128 * 1536), y(128 * 1536), gamma(384), beta(384);
  fill(x, -4, 4), fill(gamma, 0, 1), fill(beta, 0, 1);
  std::printf("%-10s layer_norm 128 x 384: %.2f us\n", k.isa,
              best_us([&] { k.layer_norm_f32(x.data(), 128, 384, gamma.data(), beta.data(), 1e-5f, y.data()); }));
  std::printf("%-10s softmax 128 x 128: %.2f us\n", k.isa,
              best_us([&] { k.softmax_f32(x.data(), 128, 128, y.data()); }));
  struct Op {
    const char* name;
    Unary op;
  };
  for (const Op& op :
       {Op{"gelu", Unary::kGelu}, Op{"silu", Unary::kSilu}, Op{"tanh", Unary::kTanh}, Op{"exp", Unary::kExp}}) {
    const double us = best_us([&] { k.unary_f32(op.op, x.data(), y.data(), 128 * 1536, 0, 0); });
    std::printf("%-10s %s 128 x 1536: %.2f us, %.2f ns per 16\n", k.isa, op.name, us, us * 1e3 / (128 * 96));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Kernels* const* tables = usable_kernels();
  const Kernels& ref = *tables[0];
  for (; *tables != nullptr; ++tables) {
    const Kernels& k = **tables;
    if (argc > 1 && std::strcmp(argv[1], "--bench") == 0) {
      bench(k);
      continue;
    }
    test_unary(k, ref);
    test_accuracy(k);
    test_binary(k, ref);
    test_reduce(k, ref);
    test_norms(k, ref);
    test_softmax(k, ref);
    test_attention(k, ref, k.attention_f32, 3e-6f);
    if (k.attention_i8 != k.attention_f32) test_attention(k, ref, k.attention_i8, 0.04f);
    test_conversions(k, ref);
    test_pack(k, ref);
  }
  return argc > 1 ? 0 : check::summary();
}
