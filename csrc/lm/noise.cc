#include "lm/noise.h"

#include <cmath>

namespace pocketuni {
namespace {

constexpr int kTries = 64;  // for a number within the clamp

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014).
uint64_t mixed(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/// In (0, 1].
double uniform(uint64_t bits) { return (static_cast<double>(bits >> 11) + 1) / 9007199254740992.0; }

}  // namespace

void normal_noise(uint64_t seed, uint64_t sequence, uint64_t row, double deviation, double clamp, size_t count,
                  float* out) {
  const uint64_t key = mixed(mixed(mixed(seed + 0x9e3779b97f4a7c15u) + sequence) + row);
  for (size_t i = 0; i < count; ++i) {
    double value = 0;
    for (int attempt = 0; attempt < kTries; ++attempt) {
      const uint64_t bits = mixed(key + i + (static_cast<uint64_t>(attempt) << 32));
      const double radius = std::sqrt(-2 * std::log(uniform(bits)));
      value = deviation * radius * std::cos(2 * 3.14159265358979323846 * uniform(mixed(bits + key)));
      if (!(clamp > 0) || std::fabs(value) <= clamp) break;
      value = 0;
    }
    out[i] = static_cast<float>(value);
  }
}

}  // namespace pocketuni
