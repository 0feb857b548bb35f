// Fourier transforms of every ISA: against sums in double, bit for bit against the reference, there and back, next to
// pages that may not be touched. `--bench` prints times instead.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "guarded.h"
#include "kernels/check.h"
#include "kernels/fft_tables.h"
#include "kernels/kernels.h"

using namespace pocketuni;

namespace {

constexpr double kTwoPi = 6.283185307179586476925;
std::mt19937 rng(5);
void fill(const Guarded<float>& x) {
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::uniform_real_distribution<float>(-1, 1)(rng);
}
bool same(const Guarded<float>& a, const Guarded<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void test_complex(const Kernels& ref, const Kernels& k, int size) {
  const FftTables tables(size);
  const FftPlan plan = tables.plan();
  const size_t n = static_cast<size_t>(size);
  Guarded<float> re(n), im(n), want_re(n), want_im(n), scratch(tables.scratch_floats());
  fill(re), fill(im);
  const std::vector<float> xr(re.data(), re.data() + n), xi(im.data(), im.data() + n);
  std::copy_n(re.data(), n, want_re.data()), std::copy_n(im.data(), n, want_im.data());
  ref.fft_f32(&plan, want_re.data(), want_im.data(), scratch.data());
  k.fft_f32(&plan, re.data(), im.data(), scratch.data());
  CHECK(same(re, want_re) && same(im, want_im), "%s complex %d against ref", k.isa, size);
  for (int bin = 0; bin < size; bin += 1 + size / 64) {
    double sum_re = 0, sum_im = 0;
    for (int i = 0; i < size; ++i) {
      const double angle = -kTwoPi * (static_cast<int64_t>(bin) * i % size) / size, c = std::cos(angle),
                   s = std::sin(angle);
      sum_re += xr[static_cast<size_t>(i)] * c - xi[static_cast<size_t>(i)] * s;
      sum_im += xr[static_cast<size_t>(i)] * s + xi[static_cast<size_t>(i)] * c;
    }
    const double bound = 1e-6 * std::sqrt(size) * std::log2(size);
    CHECK(std::fabs(re[static_cast<size_t>(bin)] - sum_re) < bound &&
              std::fabs(im[static_cast<size_t>(bin)] - sum_im) < bound,
          "%s complex %d bin %d: %g %g, want %g %g", k.isa, size, bin, re[static_cast<size_t>(bin)],
          im[static_cast<size_t>(bin)], sum_re, sum_im);
  }
}

void test_real(const Kernels& ref, const Kernels& k, int size) {
  const FftTables tables(size);
  const FftPlan plan = tables.plan();
  const size_t n = 2 * static_cast<size_t>(size), bins = static_cast<size_t>(size) + 1;
  Guarded<float> x(n), re(bins), im(bins), want_re(bins), want_im(bins), y(n), want(n),
      scratch(tables.scratch_floats());
  fill(x);
  ref.real_fft_f32(&plan, x.data(), want_re.data(), want_im.data(), scratch.data());
  k.real_fft_f32(&plan, x.data(), re.data(), im.data(), scratch.data());
  CHECK(same(re, want_re) && same(im, want_im), "%s real %zu against ref", k.isa, n);
  for (size_t bin = 0; bin < bins; bin += 1 + bins / 50) {
    double sum_re = 0, sum_im = 0;
    for (size_t i = 0; i < n; ++i) {
      const double angle = -kTwoPi * static_cast<double>(bin * i % n) / static_cast<double>(n);
      sum_re += x[i] * std::cos(angle), sum_im += x[i] * std::sin(angle);
    }
    const double bound = 1e-6 * std::sqrt(n) * std::log2(n);
    CHECK(std::fabs(re[bin] - sum_re) < bound && std::fabs(im[bin] - sum_im) < bound,
          "%s real %zu bin %zu: %g %g, want %g %g", k.isa, n, bin, re[bin], im[bin], sum_re, sum_im);
  }
  im[0] = im[bins - 1] = 0.5f;  // to be ignored
  ref.real_inverse_f32(&plan, re.data(), im.data(), want.data(), scratch.data());
  k.real_inverse_f32(&plan, re.data(), im.data(), y.data(), scratch.data());
  CHECK(same(y, want), "%s inverse %zu against ref", k.isa, n);
  float worst = 0;
  for (size_t i = 0; i < n; ++i) worst = std::max(worst, std::fabs(y[i] - x[i]));
  CHECK(worst < 1e-6f, "%s there and back %zu: off by %g", k.isa, n, worst);
}

void bench(const Kernels& k) {
  for (int size : {128, 512, 1024}) {
    const FftTables tables(size);
    const FftPlan plan = tables.plan();
    std::vector<float> re(static_cast<size_t>(size) + 1), im(re.size()), y(2 * re.size()),
        scratch(tables.scratch_floats());
    double best = 1e30, forward = 1e30;
    for (int round = 0; round < 50; ++round) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < 20; ++i) k.real_inverse_f32(&plan, re.data(), im.data(), y.data(), scratch.data());
      const auto middle = std::chrono::steady_clock::now();
      for (int i = 0; i < 20; ++i) k.real_fft_f32(&plan, y.data(), re.data(), im.data(), scratch.data());
      const auto end = std::chrono::steady_clock::now();
      best = std::min(best, std::chrono::duration<double, std::micro>(middle - start).count() / 20);
      forward = std::min(forward, std::chrono::duration<double, std::micro>(end - middle).count() / 20);
    }
    std::printf("%-10s real inverse of %4d samples: %.2f us, forward %.2f us\n", k.isa, 2 * size, best, forward);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Kernels* const* tables = usable_kernels();
  const Kernels& ref = *tables[0];
  const bool timing = argc > 1 && std::strcmp(argv[1], "--bench") == 0;
  for (; *tables != nullptr; ++tables) {
    for (int size = 4; size <= 4096 && !timing; size *= 2) {
      test_complex(ref, **tables, size);
      test_real(ref, **tables, size);
    }
    if (timing) bench(**tables);
  }
  return timing ? 0 : check::summary();
}
