// Sounds for the tests of voices: something like a voice, and noise.
#pragma once
#include <cmath>
#include <cstddef>
#include <random>
#include <vector>

namespace sounds {

constexpr double kTwoPi = 6.283185307179586476925;

inline std::vector<float> silence(double rate, double seconds) {
  return std::vector<float>(static_cast<size_t>(rate * seconds), 0.0f);
}

inline std::vector<float> noise(double rate, double seconds, float size, uint32_t seed = 1) {
  std::mt19937 rng(seed);
  std::vector<float> x = silence(rate, seconds);
  for (float& value : x) value = std::normal_distribution<float>(0, size)(rng);
  return x;
}

/// Harmonics of `hz` under one formant, in syllables of a quarter of a second, some louder than others.
/// Most of it is taken for speech by the towers of the tests.
inline std::vector<float> voice(double rate, double seconds, double hz, double formant, float size) {
  std::vector<float> x = silence(rate, seconds);
  for (size_t n = 0; n < x.size(); ++n) {
    const double time = static_cast<double>(n) / rate;
    double sum = 0;
    for (int k = 1; k * hz < std::min(4000.0, 0.45 * rate); ++k) {
      const double away = (k * hz - formant) / 400;
      sum += std::sin(kTwoPi * k * hz * time) * (0.2 / k + std::exp(-away * away) / 4);
    }
    const double syllable = std::floor(4 * time), loud = 0.4 + 0.6 * std::fmod(syllable * 0.618, 1.0);
    x[n] = size * static_cast<float>(sum * loud * std::pow(std::sin(kTwoPi * 2 * time), 2));
  }
  return x;
}

inline std::vector<float> operator+(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline std::vector<float> mixed(std::vector<float> a, const std::vector<float>& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) a[i] += b[i];
  return a;
}

}  // namespace sounds
