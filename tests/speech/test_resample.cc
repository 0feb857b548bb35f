// Changing the rate: sines keep their amplitude or vanish, pieces give what the whole gives, lengths are exact.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "speech/resample.h"

using namespace pocketuni;

namespace {

constexpr double kTwoPi = 6.283185307179586476925;

std::vector<float> sine(double hz, double rate, size_t count) {
  std::vector<float> x(count);
  for (size_t n = 0; n < count; ++n) x[n] = static_cast<float>(std::sin(kTwoPi * hz * static_cast<double>(n) / rate));
  return x;
}

struct Rates {
  int64_t from, to;
};
const Rates kRates[] = {{16000, 22050}, {48000, 22050}, {44100, 16000}, {22050, 44100}, {8000, 22050}, {3, 7}, {7, 1}};

void test_sines() {
  for (const Rates& r : kRates) {
    const double from = static_cast<double>(r.from), to = static_cast<double>(r.to), nyquist = std::min(from, to) / 2;
    for (double share : {0.01, 0.2, 0.5, 0.9}) {
      const std::vector<float> y = resample(sine(share * nyquist, from, 6000).data(), 6000, r.from, r.to);
      const std::vector<float> want = sine(share * nyquist, to, y.size());
      double worst = 0;  // away from the ends, where silence begins
      const size_t edge = static_cast<size_t>(std::ceil(60 * std::max(1.0, to / from)));
      for (size_t n = edge; n + edge < y.size(); ++n)
        worst = std::max(worst, std::fabs(static_cast<double>(y[n] - want[n])));
      CHECK(worst < 1e-4, "%lld to %lld, %.2f of the band: off by %g", static_cast<long long>(r.from),
            static_cast<long long>(r.to), share, worst);
    }
    if (r.from <= r.to) continue;
    // What the lower rate cannot hold is gone.
    const std::vector<float> y = resample(sine(1.05 * nyquist, from, 6000).data(), 6000, r.from, r.to);
    const size_t edge = 60;
    double worst = 0;
    for (size_t n = edge; n + edge < y.size(); ++n) worst = std::max(worst, std::fabs(static_cast<double>(y[n])));
    CHECK(worst < 1e-3, "%lld to %lld lets %g through", static_cast<long long>(r.from), static_cast<long long>(r.to),
          worst);
  }
}

void test_pieces() {
  std::mt19937 rng(3);
  for (const Rates& r : kRates) {
    Resampler resampler(r.from, r.to);
    for (size_t count : {0, 1, 2, 50, 999, 5000}) {
      std::vector<float> x(count), y;
      for (float& v : x) v = std::uniform_real_distribution<float>(-1, 1)(rng);
      for (size_t at = 0; at < count;) {
        const size_t piece = std::min<size_t>(count - at, rng() % 300);
        resampler.push(x.data() + at, piece, &y);
        at += piece;
      }
      resampler.finish(&y);
      const std::vector<float> want = resample(x.data(), count, r.from, r.to);
      CHECK(y.size() == want.size() && (y.empty() || std::memcmp(y.data(), want.data(), y.size() * 4) == 0),
            "%lld to %lld, %zu samples", static_cast<long long>(r.from), static_cast<long long>(r.to), count);
      const size_t length =
          (count * static_cast<size_t>(r.to) + static_cast<size_t>(r.from) - 1) / static_cast<size_t>(r.from);
      CHECK(want.size() == length, "%zu samples give %zu, want %zu", count, want.size(), length);
    }
  }
}

void test_special_ratios() {
  const std::vector<float> x = sine(100, 8000, 100);
  CHECK(resample(x.data(), x.size(), 8000, 8000) == x);
  for (const Rates& r : {Rates{0, 8000}, Rates{8000, -1}, Rates{22050, 2000000011}}) {
    try {
      Resampler resampler(r.from, r.to);
      CHECK(false, "no error for %lld to %lld", static_cast<long long>(r.from), static_cast<long long>(r.to));
    } catch (const Error& error) {
      CHECK(error.status() == Status::kInvalidArgument);
    }
  }
}

}  // namespace

int main() {
  test_sines();
  test_pieces();
  test_special_ratios();
  return check::summary();
}
