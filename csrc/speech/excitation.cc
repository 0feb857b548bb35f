#include "speech/excitation.h"

#include <algorithm>
#include <cmath>

namespace pocketuni {

namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kRateHz = 22050.0;
constexpr int64_t kHop = 256;
constexpr int64_t kMiddle = kHop / 2;
constexpr double kMinStep = 2.0 * kPi * 50.0 / kRateHz;
constexpr double kMaxStep = 2.0 * kPi * 500.0 / kRateHz;
constexpr double kMinHz = 10.0, kMaxHz = 2000.0;

// sum over k = 1 .. count of cos(k phase), with unit power.
double pulse(double phase, double count) {
  const double half = phase / 2.0;
  const double low = std::sin(half);
  // At multiples of 2 pi the quotient is 0 / 0; its limit, up to sign, makes the sum `count`.
  const double sum = std::fabs(low) < 1e-6 ? count : (std::sin((2.0 * count + 1.0) * half) / low - 1.0) / 2.0;
  return sum * std::sqrt(2.0 / count);
}

}  // namespace

void PulseTrain::append(const float* log_f0, size_t frames) {
  for (size_t i = 0; i < frames; ++i) {
    // A NaN fails both comparisons of clamp and would stay in the phase for ever.
    const double given = std::exp(static_cast<double>(log_f0[i]));
    const double hz = given >= kMinHz ? std::min(given, kMaxHz) : kMinHz;
    const double step = 2.0 * kPi * kHop / kRateHz * (last_hz_ + hz) / 2.0;
    phase_.push_back(phase_.empty() ? 0.0 : phase_.back() + step);
    last_hz_ = hz;
  }
}

int64_t PulseTrain::samples() const {
  if (phase_.size() < 2) return 0;
  const int64_t frames = static_cast<int64_t>(phase_.size());
  return finished_ ? kHop * frames : kHop * (frames - 1) + kMiddle;
}

void PulseTrain::read(int64_t first, size_t count, float* out) const {
  const int64_t end = samples();
  const int64_t last_gap = static_cast<int64_t>(phase_.size()) - 2;  // gap g lies between the middles of g and g + 1
  const int64_t stop = first + static_cast<int64_t>(count);
  std::fill(out, out + count, 0.0f);
  for (int64_t at = std::max<int64_t>(first, 0); at < std::min(stop, end);) {
    const int64_t gap = std::clamp<int64_t>((at + kHop - kMiddle) / kHop - 1, 0, last_gap);
    const double start = phase_[gap];
    const double step = (phase_[gap + 1] - start) / kHop;
    const double harmonics = std::floor(kPi / std::clamp(step, kMinStep, kMaxStep));
    const int64_t gap_end = gap == last_gap ? end : kHop * (gap + 1) + kMiddle;
    const double base = std::fmod(start, 2.0 * kPi);
    for (; at < std::min({stop, end, gap_end}); ++at) {
      out[at - first] = static_cast<float>(pulse(base + step * (at - kHop * gap - kMiddle), harmonics));
    }
  }
}

void hashed_noise(int64_t first, size_t count, int64_t end, float* out, uint32_t seed) {
  const double scale = std::sqrt(12.0) / 4294967296.0, offset = std::sqrt(3.0);
  for (size_t i = 0; i < count; ++i) {
    const int64_t at = first + static_cast<int64_t>(i);
    uint32_t x = static_cast<uint32_t>(at) + seed;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    x ^= x >> 16;
    out[i] = at < 0 || at >= end ? 0.0f : static_cast<float>(x * scale - offset);
  }
}

}  // namespace pocketuni
