#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "check.h"
#include "speech/excitation.h"

using namespace pocketuni;

namespace {

std::vector<float> rising(size_t frames) {
  std::vector<float> log_f0(frames);
  for (size_t i = 0; i < frames; ++i) log_f0[i] = std::log(100.0f + 5.0f * static_cast<float>(i));
  return log_f0;
}

std::vector<float> whole(const PulseTrain& train) {
  std::vector<float> audio(static_cast<size_t>(train.samples()));
  train.read(0, audio.size(), audio.data());
  return audio;
}

void test_pulses_equal_the_reference() {
  // source.pulses(source.integrate(100 + 5 * arange(40)))
  const std::vector<float> log_f0 = rising(40);
  PulseTrain train;
  train.append(log_f0.data(), log_f0.size());
  train.finish();
  const std::vector<float> audio = whole(train);
  CHECK(audio.size() == 256 * 40);
  const std::pair<size_t, double> expected[] = {{0, -0.08452},   {1, -0.05239},    {100, -0.07693},  {128, 14.62874},
                                                {129, -0.06002}, {1000, -0.12605}, {5000, -0.19494}, {10239, 0.15417}};
  for (const auto& [at, value] : expected) {
    CHECK(std::fabs(audio[at] - value) < 2e-3, "sample %zu: %f, expected %f", at, audio[at], value);
  }
  double power = 0.0;
  for (float sample : audio) power += sample * sample;
  CHECK(std::fabs(power / static_cast<double>(audio.size()) - 1.0) < 0.05, "power %f", power);
}

void test_pieces_equal_the_whole() {
  const std::vector<float> log_f0 = rising(20);
  PulseTrain train, grown;
  train.append(log_f0.data(), log_f0.size());
  train.finish();
  const std::vector<float> audio = whole(train);
  std::vector<float> pieces;
  for (size_t i = 0; i < log_f0.size(); ++i) {
    grown.append(&log_f0[i], 1);
    if (i + 1 == log_f0.size()) grown.finish();
    const size_t settled = static_cast<size_t>(grown.samples()), before = pieces.size();
    pieces.resize(std::max(before, settled));
    grown.read(static_cast<int64_t>(before), pieces.size() - before, pieces.data() + before);
  }
  CHECK(pieces.size() == audio.size(), "%zu samples", pieces.size());
  for (size_t i = 0; i < audio.size(); ++i) CHECK(pieces[i] == audio[i], "sample %zu", i);
  std::vector<float> around(768, 1.0f);
  train.read(-384, around.size(), around.data());
  CHECK(around[0] == 0.0f && around[383] == 0.0f && around[384] == audio[0] && around[767] == audio[383]);
  train.read(256 * 20 - 1, 2, around.data());
  CHECK(around[0] == audio.back() && around[1] == 0.0f);
}

void test_odd_pitch_stays_finite() {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const float log_f0[] = {nan, infinity, -infinity, 5.0f, 100.0f, -100.0f};
  PulseTrain train;
  CHECK(train.samples() == 0);
  train.append(log_f0, 6);
  train.finish();
  for (float sample : whole(train)) CHECK(std::isfinite(sample) && std::fabs(sample) < 30.0f, "%f", sample);
}

void test_noise_equals_the_reference() {
  // source.hashed_noise(0, 100000)
  const std::pair<int64_t, double> expected[] = {
      {0, -1.732051}, {1, -0.317488}, {2, 1.097075}, {1000, -0.597114}, {99999, 0.107066}};
  std::vector<float> noise(100000);
  hashed_noise(0, noise.size(), 100000, noise.data());
  for (const auto& [at, value] : expected)
    CHECK(std::fabs(noise[at] - value) < 1e-5, "sample %d", static_cast<int>(at));
  float edge[4];
  hashed_noise(-1, 4, 2, edge);
  CHECK(edge[0] == 0.0f && edge[1] == noise[0] && edge[2] == noise[1] && edge[3] == 0.0f);
}

}  // namespace

int main() {
  test_pulses_equal_the_reference();
  test_pieces_equal_the_whole();
  test_odd_pitch_stays_finite();
  test_noise_equals_the_reference();
  return check::summary();
}
