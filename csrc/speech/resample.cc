#include "speech/resample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "base/error.h"
#include "speech/dot.h"

namespace pocketuni {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kCrossings = 48;     // zero crossings of the sinc on each side
constexpr double kBeta = 9.0;         // of the Kaiser window: side lobes below -90 dB
constexpr double kPassBand = 0.9625;  // cutoff; the transition of such a window is +- 0.06 around it
constexpr int64_t kMostCoefficients = int64_t{1} << 24;

constexpr auto kFactors = [] {  // 1 / (k!)^2
  std::array<double, 26> made{1.0};
  for (size_t k = 1; k < made.size(); ++k) made[k] = made[k - 1] / static_cast<double>(k * k);
  return made;
}();

/// The modified Bessel function I0 for 0 <= x <= kBeta, by its power series: what is left out is below 1e-16 of it.
double bessel(double x) {
  const double square = x * x / 4;
  double sum = 0;
  for (auto factor = kFactors.rbegin(); factor != kFactors.rend(); ++factor) sum = sum * square + *factor;
  return sum;
}

/// The filter at a distance in input samples, but for a factor; `cutoff` in units of the input's Nyquist frequency.
double filter_at(double distance, double cutoff) {
  const double place = distance * cutoff / kCrossings;
  if (std::fabs(place) >= 1) return 0;
  const double angle = kPi * distance * cutoff;
  const double sinc = std::fabs(angle) < 1e-9 ? 1 : std::sin(angle) / angle;
  return sinc * bessel(kBeta * std::sqrt(1 - place * place));
}

}  // namespace

Resampler::Resampler(int64_t from_hz, int64_t to_hz) {
  if (from_hz < 1 || to_hz < 1 || from_hz > (int64_t{1} << 31) || to_hz > (int64_t{1} << 31)) {
    fail_argument("cannot change the rate from " + std::to_string(from_hz) + " Hz to " + std::to_string(to_hz) + " Hz");
  }
  const int64_t common = std::gcd(from_hz, to_hz);
  up_ = to_hz / common, down_ = from_hz / common;
  if (up_ == down_) {  // nothing to filter
    half_ = 0;
    start();
    return;
  }
  const double cutoff = kPassBand * std::min(1.0, static_cast<double>(up_) / static_cast<double>(down_));
  half_ = (static_cast<int64_t>(std::ceil(kCrossings / cutoff)) + 3) / 4 * 4;
  if (half_ > kMostCoefficients / 2 / up_) {
    fail_argument("the rates " + std::to_string(from_hz) + " Hz and " + std::to_string(to_hz) +
                  " Hz have too small a common divisor; convert in two steps");
  }
  const int64_t width = 2 * half_;
  coefficients_.resize(static_cast<size_t>(up_ * width));
  std::vector<double> taps(static_cast<size_t>(width));
  for (int64_t phase = 0; phase <= up_ / 2; ++phase) {
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) {
      const double place = static_cast<double>(phase) / static_cast<double>(up_);
      sum += taps[i] = filter_at(static_cast<double>(half_ - 1 - i) + place, cutoff);
    }
    float* own = coefficients_.data() + phase * width;
    for (int64_t i = 0; i < width; ++i) own[i] = static_cast<float>(taps[i] / sum);  // every phase passes a constant
    // The filter is even: the phase that is as far from the next sample has the same taps, the last first.
    if (phase > 0 && 2 * phase < up_) std::reverse_copy(own, own + width, coefficients_.data() + (up_ - phase) * width);
  }
  start();
}

/// Silence before the first sample.
void Resampler::start() {
  next_ = 0;
  first_ = std::min<int64_t>(0, 1 - half_);
  held_.assign(static_cast<size_t>(-first_), 0.0f);
}

void Resampler::push(const float* samples, size_t count, std::vector<float>* out) {
  held_.insert(held_.end(), samples, samples + count);
  const int64_t there = first_ + static_cast<int64_t>(held_.size());
  // Result n reads the samples base - half + 1 .. base + half, base = n down / up.
  produce((there - half_) * up_, out);
}

void Resampler::finish(std::vector<float>* out) {
  const int64_t there = first_ + static_cast<int64_t>(held_.size());
  held_.insert(held_.end(), static_cast<size_t>(half_), 0.0f);
  produce(there * up_, out);
  start();
}

/// Appends the results whose place, in units of 1 / up of a sample, lies before `end`.
void Resampler::produce(int64_t end, std::vector<float>* out) {
  for (; next_ * down_ < end; ++next_) {
    const int64_t base = next_ * down_ / up_;
    if (half_ == 0) {
      out->push_back(held_[static_cast<size_t>(next_ - first_)]);
      continue;
    }
    const float* taps = coefficients_.data() + next_ * down_ % up_ * 2 * half_;
    out->push_back(dot_lanes(taps, held_.data() + (base - half_ + 1 - first_), 2 * half_));
  }
  const int64_t drop = next_ * down_ / up_ - std::max<int64_t>(0, half_ - 1) - first_;
  if (drop > 0) {
    const int64_t count = std::min<int64_t>(drop, static_cast<int64_t>(held_.size()));
    held_.erase(held_.begin(), held_.begin() + count);
    first_ += count;
  }
}

std::vector<float> resample(const float* samples, size_t count, int64_t from_hz, int64_t to_hz) {
  Resampler resampler(from_hz, to_hz);
  std::vector<float> out;
  resampler.push(samples, count, &out);
  resampler.finish(&out);
  return out;
}

}  // namespace pocketuni
