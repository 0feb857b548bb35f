// Every ISA's quantization and matrix products against the reference, bit for bit, with operands that end at guard
// pages. `--bench` times them instead.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "../../csrc/kernels/kernels.h"
#include "avxvnni_in_evex.h"
#include "check.h"
#include "guarded.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using pocketuni::Activation;
using pocketuni::Epilogue;
using pocketuni::Kernels;
using pocketuni::QuantizedRows;

class Random {
 public:
  uint32_t bits() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<uint32_t>(state_ >> 33) ^ static_cast<uint32_t>(state_ >> 13);
  }
  float unit() { return static_cast<float>(static_cast<int>(bits() % 2000001) - 1000000) * 1e-6f; }

 private:
  uint64_t state_ = 7;
};

enum class Kind { kF32, kF16, kI8, kI4 };
const char* const kKindNames[] = {"f32", "f16", "i8", "i4"};
constexpr Kind kKinds[] = {Kind::kF32, Kind::kF16, Kind::kI8, Kind::kI4};

enum class Input { kRandom, kExtreme, kSpecial };

uint16_t random_half(Random& random) {  // normal, |w| in [2^-6, 2)
  const uint32_t b = random.bits();
  return static_cast<uint16_t>((b & 0x83ffu) | (9 + (b >> 20) % 7) << 10);
}

size_t ceil_div(int a, int b) { return (static_cast<size_t>(a) + static_cast<size_t>(b) - 1) / static_cast<size_t>(b); }

/// A product's operands, quantized by `quantizer`.
struct Problem {
  Kind kind;
  int rows, k, n;
  size_t x_stride, q_stride;
  Guarded<float> x, f32, scales, bias, residual, row_scale;
  Guarded<uint16_t> f16, half_scales;
  Guarded<uint8_t> bytes;
  Guarded<int8_t> q;
  Guarded<int32_t> sum;

  Problem(Kind kind_, int rows_, int k_, int n_, Input input, const Kernels& quantizer)
      : kind(kind_),
        rows(rows_),
        k(k_),
        n(n_),
        x_stride(static_cast<size_t>(k) + 5),
        q_stride(ceil_div(k, 32) * 32 + (k % 5 == 0 ? 32 : 0)),
        x(x_stride * static_cast<size_t>(rows - 1) + static_cast<size_t>(k)),
        f32(kind == Kind::kF32 ? ceil_div(n, 16) * 16 * static_cast<size_t>(k) : 0),
        scales(ceil_div(n, 16) * 16),
        bias(static_cast<size_t>(n)),
        residual(static_cast<size_t>(n + 3) * static_cast<size_t>(rows)),
        row_scale(static_cast<size_t>(rows)),
        f16(kind == Kind::kF16 ? ceil_div(n, 16) * 16 * static_cast<size_t>(k) : 0),
        half_scales(ceil_div(n, 16) * ceil_div(k, 32) * 16),
        bytes(kind == Kind::kI8 ? ceil_div(n, 16) * ceil_div(k, 4) * 64
                                : (kind == Kind::kI4 ? ceil_div(n, 16) * ceil_div(k, 32) * 256 : 0)),
        q(static_cast<size_t>(rows) * q_stride),
        sum(static_cast<size_t>(rows) * (q_stride / 32)) {
    Random random;
    const bool extreme = input == Input::kExtreme;
    for (size_t i = 0; i < x.size(); ++i) x[i] = extreme ? (i % 3 == 0 ? -127.0f : 127.0f) : random.unit() * 3;
    for (size_t i = 0; i < f32.size(); ++i) f32[i] = random.unit();
    for (size_t i = 0; i < f16.size(); ++i) f16[i] = random_half(random);
    for (size_t i = 0; i < half_scales.size(); ++i) half_scales[i] = random_half(random);
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = random.unit() * 0.01f;
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = random.unit();
    for (size_t i = 0; i < residual.size(); ++i) residual[i] = random.unit();
    for (size_t i = 0; i < bytes.size(); ++i) {
      const uint32_t b = random.bits();
      const bool i4 = kind == Kind::kI4;
      bytes[i] = static_cast<uint8_t>(extreme ? (b % 2 ? 255 : i4 ? 0 : 1) : i4 ? b : 1 + b % 255);
    }
    for (size_t lane = 0; lane < scales.size(); ++lane) {  // padding outputs
      if (lane >= static_cast<size_t>(n)) scales[lane] = 0;
    }
    if (kind == Kind::kI8) pad_quads();
    if (input == Input::kSpecial) put_special();
    quantizer.quantize_rows(x.data(), static_cast<ptrdiff_t>(x_stride), rows, k, q.data(),
                            static_cast<ptrdiff_t>(q_stride), row_scale.data(), sum.data());
  }

  void pad_quads() {
    const size_t quads = ceil_div(k, 4);
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i / 64 % quads * 4 + i % 4 >= static_cast<size_t>(k)) bytes[i] = 128;
    }
  }

  // Rows of zeros, of denormals, with a NaN, with an infinity, huge and tiny.
  void put_special() {
    for (int r = 0; r < rows; ++r) {
      float* row = x.data() + static_cast<size_t>(r) * x_stride;
      const int at = (r * 7 + 3) % k;
      if (r % 6 == 0) row[at] = NAN;
      if (r % 6 == 1) row[k - 1] = -INFINITY;
      if (r % 6 == 2) std::fill(row, row + k, r % 4 ? 0.0f : -0.0f);
      if (r % 6 == 3) std::fill(row, row + k, 1e-41f);
      if (r % 6 == 4) row[at] = -3e38f;
      if (r % 6 == 5)
        for (int i = 0; i < k; ++i) row[i] *= 1e-29f;
    }
  }

  QuantizedRows quantized(int row) const {
    const size_t r = static_cast<size_t>(row);
    return {q.data() + r * q_stride, static_cast<ptrdiff_t>(q_stride), row_scale.data() + r,
            sum.data() + r * (q_stride / 32)};
  }

  void run(const Kernels& t, int row, int count, const Epilogue& e, float* y, ptrdiff_t y_stride) const {
    const float* a = x.data() + static_cast<size_t>(row) * x_stride;
    const ptrdiff_t xs = static_cast<ptrdiff_t>(x_stride);
    const QuantizedRows rows_q = quantized(row);
    if (kind == Kind::kF32) t.gemm_f32(a, xs, count, k, f32.data(), n, &e, y, y_stride);
    if (kind == Kind::kF16) t.gemm_f16(a, xs, count, k, f16.data(), n, &e, y, y_stride);
    if (kind == Kind::kI8) t.gemm_i8(&rows_q, count, k, bytes.data(), scales.data(), n, &e, y, y_stride);
    if (kind == Kind::kI4) t.gemm_i4(&rows_q, count, k, bytes.data(), half_scales.data(), n, &e, y, y_stride);
  }
};

// Equal bits, or both NaN.
bool same(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (std::memcmp(a + i, b + i, sizeof *a) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) {
      std::fprintf(stderr, "at %zu: %.9g, %.9g\n", i, static_cast<double>(a[i]), static_cast<double>(b[i]));
      return false;
    }
  }
  return true;
}

Epilogue epilogue_of(const Problem& p, int variant) {
  Epilogue e;
  if (variant & 1) e.bias = p.bias.data();
  if (variant & 2) e.residual = p.residual.data();
  e.residual_stride = p.n + 3;
  if (variant & 4) e.activation = Activation::kRelu;
  return e;
}

void check_problem(const Kernels& ref, const Kernels& table, const Problem& p, int variant) {
  const Epilogue e = epilogue_of(p, variant);
  const size_t n = static_cast<size_t>(p.n), count = n * static_cast<size_t>(p.rows);
  Guarded<float> want(count), got(count);
  for (size_t i = 0; i < count; ++i) got[i] = -77;
  p.run(ref, 0, p.rows, e, want.data(), p.n);
  p.run(table, 0, p.rows, e, got.data(), p.n);
  const char* kind = kKindNames[static_cast<int>(p.kind)];
  CHECK(same(got.data(), want.data(), count), "%s %s rows %d k %d n %d variant %d", table.isa, kind, p.rows, p.k, p.n,
        variant);
  if (p.rows > 1 && variant == 7) {  // one row at a time
    for (int r = 0; r < p.rows; ++r) {
      Epilogue one = e;
      one.residual += r * e.residual_stride;
      p.run(table, r, 1, one, want.data() + static_cast<size_t>(r) * n, p.n);
    }
    CHECK(same(got.data(), want.data(), count), "%s %s alone rows %d k %d n %d", table.isa, kind, p.rows, p.k, p.n);
  }
}

void test_products(const Kernels& ref, const Kernels& table) {
  for (Kind kind : kKinds) {
    int variant = 0;
    for (int k : {1, 3, 4, 31, 32, 33, 64, 384}) {
      for (int n : {1, 15, 16, 17, 48, 80, 130, 384}) {
        if (k == 384 && n == 384) continue;
        for (int rows = 1; rows <= 33; rows += rows == 17 ? 16 : 1) {
          if (static_cast<long>(k) * n * rows > 2000000) continue;
          const Input input = (k + n + rows) % 3 == 0 ? Input::kExtreme : Input::kRandom;
          const Problem p(kind, rows, k, n, input, ref);
          check_problem(ref, table, p, variant++ % 8);
        }
      }
    }
    for (int rows : {32, 40, 48, 64, 130, 161}) {  // more than a block of rows, and what is left of pairs of 16
      for (int k : {64, 192}) {
        const Problem p(kind, rows, k, 50, rows % 3 == 0 ? Input::kExtreme : Input::kRandom, ref);
        check_problem(ref, table, p, variant++ % 8);
      }
    }
    for (int rows : {6, 12, 13}) {
      for (int variant2 : {0, 3}) {
        const Problem p(kind, rows, 40, 50, Input::kSpecial, ref);
        check_problem(ref, table, p, variant2);
      }
    }
  }
}

void test_alias(const Kernels& ref, const Kernels& table) {  // y is the residual
  for (Activation activation : {Activation::kNone, Activation::kRelu}) {
    const Problem p(Kind::kI8, 7, 64, 50, Input::kRandom, ref);
    Epilogue e = epilogue_of(p, 3);
    e.activation = activation;
    std::vector<float> want(7 * 53), got(p.residual.data(), p.residual.data() + 7 * 53);
    p.run(ref, 0, 7, e, want.data(), 53);
    e.residual = got.data();
    p.run(table, 0, 7, e, got.data(), 53);
    for (size_t r = 0; r < 7; ++r) CHECK(same(&got[r * 53], &want[r * 53], 50), "%s row %zu", table.isa, r);
  }
}

// Activations go through another file of each ISA; here only that they reach every element once and before the sum.
void test_activations(const Kernels& ref, const Kernels& table) {
  for (int a = 1; a <= 6; ++a) {
    const Problem p(Kind::kF32, 7, 33, 50, Input::kRandom, ref);
    Epilogue e = epilogue_of(p, 3);
    e.activation = static_cast<Activation>(a);
    std::vector<float> want(7 * 50), got(7 * 50);
    p.run(ref, 0, 7, e, want.data(), 50);
    p.run(table, 0, 7, e, got.data(), 50);
    float worst = 0;
    for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::fabs(want[i] - got[i]));
    CHECK(worst < 3e-6f, "%s activation %d off by %g", table.isa, a, static_cast<double>(worst));
  }
}

void test_quantize(const Kernels& ref, const Kernels& table) {
  for (Input input : {Input::kRandom, Input::kExtreme, Input::kSpecial}) {
    for (int k : {1, 3, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 95, 100, 384}) {
      const Problem want(Kind::kI8, 37, k, 1, input, ref), got(Kind::kI8, 37, k, 1, input, table);
      CHECK(std::memcmp(want.q.data(), got.q.data(), want.q.size()) == 0, "%s k %d", table.isa, k);
      CHECK(std::memcmp(want.sum.data(), got.sum.data(), want.sum.size() * 4) == 0, "%s k %d", table.isa, k);
      CHECK(same(want.row_scale.data(), got.row_scale.data(), 37), "%s k %d", table.isa, k);
      if (input == Input::kSpecial) {
        CHECK(std::isnan(got.row_scale[0]) && std::isnan(got.row_scale[1]), "%s k %d", table.isa, k);
        CHECK(got.row_scale[2] == 0 && got.row_scale[3] == 0, "%s k %d", table.isa, k);
      }
    }
  }
}

// The reference against a product in double, so that the ISAs do not merely agree on a mistake.
void test_reference(const Kernels& ref) {
  const int rows = 3, k = 70, n = 21;
  for (Kind kind : {Kind::kF32, Kind::kI8, Kind::kI4}) {
    const Problem p(kind, rows, k, n, Input::kRandom, ref);
    std::vector<float> got(rows * n);
    p.run(ref, 0, rows, Epilogue{}, got.data(), n);
    for (int r = 0; r < rows; ++r) {
      for (int j = 0; j < n; ++j) {
        double want = 0, size = 0;
        for (int i = 0; i < k; ++i) {
          const size_t panel = static_cast<size_t>(j / 16), lane = static_cast<size_t>(j % 16),
                       at = static_cast<size_t>(i);
          double w = 0, bound = 0;
          if (kind == Kind::kF32) w = static_cast<double>(p.f32[(panel * k + at) * 16 + lane]);
          if (kind == Kind::kI8) {
            const size_t index = (panel * ceil_div(k, 4) + at / 4) * 64 + lane * 4 + at % 4;
            w = (p.bytes[index] - 128) * static_cast<double>(p.scales[panel * 16 + lane]);
            bound = 0.008 * std::fabs(w);
          }
          if (kind == Kind::kI4) {
            const size_t block = panel * ceil_div(k, 32) + at / 32, inside = at % 32;
            const int byte = p.bytes[block * 256 + inside % 16 / 4 * 64 + lane * 4 + inside % 4];
            const uint16_t h = p.half_scales[block * 16 + lane];
            const double scale = std::ldexp(1024 + (h & 1023), (h >> 10 & 31) - 25) * (h >> 15 ? -1 : 1);
            w = ((inside < 16 ? byte & 15 : byte >> 4) - 8) * scale;
            bound = 0.008 * std::fabs(w);
          }
          want += w * static_cast<double>(p.x[static_cast<size_t>(r) * p.x_stride + at]);
          size += bound * 3 + 1e-6;
        }
        CHECK(std::fabs(want - static_cast<double>(got[static_cast<size_t>(r * n + j)])) < size, "%s row %d output %d",
              kKindNames[static_cast<int>(kind)], r, j);
      }
    }
  }
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The best of several runs of about 20 ms, in seconds a call.
template <class F>
double best_time(F call) {
  double best = 1e9;
  for (int attempt = 0; attempt < 7; ++attempt) {
    int calls = 0;
    const double start = seconds();
    double now;
    do {
      call();
      ++calls;
      now = seconds();
    } while (now - start < 0.02);
    best = std::min(best, (now - start) / calls);
  }
  return best;
}

#if defined(__x86_64__)
// Twelve chains cover a latency of 5 at two a cycle; written in assembly so that nothing is spilled.
void spin_vnni(int steps) {
#define PU_STEP(i) "vpdpbusd %%zmm12, %%zmm12, %%zmm" #i "\n\t"
  __asm__ volatile("1:\n\t" PU_STEP(0) PU_STEP(1) PU_STEP(2) PU_STEP(3) PU_STEP(4) PU_STEP(5) PU_STEP(6) PU_STEP(7)
                       PU_STEP(8) PU_STEP(9) PU_STEP(10) PU_STEP(11) "decl %0\n\tjnz 1b\n\t"
                   : "+r"(steps)
                   :
                   : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                     "xmm11");
#undef PU_STEP
}
#endif

void bench_kind(const Kernels& t, Kind kind, int m, int k, int n) {
  const Problem p(kind, m, k, n, Input::kRandom, t);
  std::vector<float> y(static_cast<size_t>(m) * static_cast<size_t>(n));
  const Epilogue e = epilogue_of(p, 1);
  const double time = best_time([&] { p.run(t, 0, m, e, y.data(), n); });
  const double bytes = static_cast<double>(p.bytes.size() + p.f16.size() * 2 + p.f32.size() * 4 +
                                           (kind == Kind::kI4 ? p.half_scales.size() * 2 : 0));
  std::printf("%-11s %-4s M %4d K %5d N %5d  %8.1f GOP/s  %6.1f GB/s\n", t.isa, kKindNames[static_cast<int>(kind)], m,
              k, n, 2e-9 * m * k * n / time, 1e-9 * bytes / time);
}

void bench() {
#if defined(__x86_64__)
  if (pocketuni::find_kernels("avx512vnni") != nullptr) {
    const double time = best_time([] { spin_vnni(1000); });
    std::printf("peak of vpdpbusd zmm: %.1f GOP/s\n", 2e-9 * 64 * 12 * 1000 / time);
  }
#endif
  for (const Kernels* const* t = pocketuni::usable_kernels() + 1; *t != nullptr; ++t) {
    for (Kind kind : kKinds) {
      for (int m : {1, 4, 16, 32, 128, 512}) bench_kind(**t, kind, m, 384, 1536);
      bench_kind(**t, kind, 128, 1536, 384);
    }
    bench_kind(**t, Kind::kI4, 1, 4096, 14336);
    const Problem p(Kind::kI8, 128, 384, 16, Input::kRandom, **t);
    const double time = best_time([&] {
      (*t)->quantize_rows(p.x.data(), static_cast<ptrdiff_t>(p.x_stride), 128, 384, p.q.data(),
                          static_cast<ptrdiff_t>(p.q_stride), p.row_scale.data(), p.sum.data());
    });
    std::printf("%-11s quantize_rows 128 x 384: %.1f us\n", (*t)->isa, time * 1e6);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--bench") {
    bench();
    return 0;
  }
  const Kernels* const* tables = pocketuni::usable_kernels();
  const Kernels& ref = *tables[0];
  test_reference(ref);
  for (const Kernels* const* t = tables; *t != nullptr; ++t) {
    std::printf("%s\n", (*t)->isa);
    test_quantize(ref, **t);
    if (*t == &ref) continue;
    test_products(ref, **t);
    test_alias(ref, **t);
    test_activations(ref, **t);
  }
  if (const Kernels* table = pocketuni::avxvnni_in_evex()) {
    std::printf("%s\n", table->isa);
    test_products(ref, *table);
    test_alias(ref, *table);
    test_activations(ref, *table);
  }
  return check::summary();
}
