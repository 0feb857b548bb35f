#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"
#include "speech/audio_frames.h"
#include "speech/fft.h"

using namespace pocketuni;

namespace {

struct Expected {
  size_t row, column;
  double value;
};

std::vector<float> rising(size_t frames) {
  std::vector<float> log_f0(frames);
  for (size_t i = 0; i < frames; ++i) log_f0[i] = std::log(100.0f + 5.0f * static_cast<float>(i));
  return log_f0;
}

/// A spectrum that a formula gives, so that NumPy can make it too.
std::vector<float> formula_spectrum(size_t frames) {
  std::vector<float> rows(frames * kSpectrumWidth);
  for (size_t t = 0; t < frames; ++t) {
    for (size_t k = 0; k < kSpectrumWidth; ++k) {
      const double angle = 0.37 * static_cast<double>(k) + 1.3 * static_cast<double>(t);
      rows[t * kSpectrumWidth + k] =
          static_cast<float>(std::cos(angle) * 20 / (1 + 0.02 * static_cast<double>(k % kBins)));
    }
  }
  return rows;
}

/// Source rows when F0 comes `step` frames at a time and rows are taken as soon as they are there.
std::vector<float> source_in_steps(SourceFrames* source, const std::vector<float>& log_f0, size_t step, uint32_t seed) {
  std::vector<float> rows;
  source->start(log_f0.size(), seed);
  for (size_t at = 0; at < log_f0.size(); at += step) {
    source->push(log_f0.data() + at, std::min(step, log_f0.size() - at));
    const size_t before = rows.size(), ready = source->ready();
    rows.resize(before + ready * kSourceWidth);
    source->pull(rows.data() + before, ready);
  }
  return rows;
}

std::vector<float> audio_in_steps(InverseStft* inverse, const std::vector<float>& rows, size_t step) {
  const size_t frames = rows.size() / kSpectrumWidth;
  std::vector<float> audio;
  inverse->start(frames);
  for (size_t at = 0; at < frames; at += step) {
    inverse->push(rows.data() + at * kSpectrumWidth, std::min(step, frames - at));
    const size_t before = audio.size(), ready = inverse->ready();
    audio.resize(before + ready * kHopSamples);
    inverse->pull(audio.data() + before, ready);
  }
  return audio;
}

void test_forward_transform_is_the_sum_of_its_definition() {
  for (size_t size : {4, 8, 64}) {
    std::vector<float> re(size), im(size);
    for (size_t n = 0; n < size; ++n) re[n] = std::sin(3.1f * n * n), im[n] = std::cos(1.7f * n);
    std::vector<float> got_re = re, got_im = im;
    Fft(size).forward(got_re.data(), got_im.data());
    for (size_t k = 0; k < size; ++k) {
      double sum_re = 0, sum_im = 0;
      for (size_t n = 0; n < size; ++n) {
        const double angle = -2 * 3.14159265358979323846 * static_cast<double>(k * n) / static_cast<double>(size);
        sum_re += re[n] * std::cos(angle) - im[n] * std::sin(angle);
        sum_im += re[n] * std::sin(angle) + im[n] * std::cos(angle);
      }
      CHECK(std::fabs(got_re[k] - sum_re) < 1e-4 && std::fabs(got_im[k] - sum_im) < 1e-4, "size %zu bin %zu", size, k);
    }
  }
}

void test_real_inverse_undoes_forward() {
  constexpr size_t kSize = 1024;
  std::vector<float> signal(kSize), re, im(kSize, 0.0f), back(kSize);
  for (size_t n = 0; n < kSize; ++n) signal[n] = std::sin(0.01f * static_cast<float>(n * n % 977));
  re = signal;
  Fft(kSize).forward(re.data(), im.data());
  RealInverse(kSize).run(re.data(), im.data(), back.data());
  for (size_t n = 0; n < kSize; ++n) CHECK(std::fabs(back[n] - signal[n]) < 1e-5, "sample %zu", n);
}

void test_source_equals_the_reference() {
  // source.excitation(source.integrate(100 + 5 * arange(12)), source.hashed_noise(0, 256 * 12))
  const Expected expected[] = {{0, 0, -0.98895},     {0, 5, -25.71726}, {0, 518, 4.74813},    {1, 40, -16.32467},
                               {5, 9, 1.05872},      {5, 522, 1.29003}, {5, 1126, -12.33655}, {5, 1639, -10.13012},
                               {6, 1026, -16.31623}, {11, 3, 3.19601},  {11, 1025, 0.0},      {11, 1546, -0.56042}};
  SourceFrames source;
  const std::vector<float> rows = source_in_steps(&source, rising(12), 12, 0);
  CHECK(rows.size() == 12 * kSourceWidth);
  for (const Expected& e : expected) {
    const float got = rows[e.row * kSourceWidth + e.column];
    CHECK(std::fabs(got - e.value) < 2e-3, "row %zu column %zu: %f, expected %f", e.row, e.column, got, e.value);
  }
}

void test_source_in_pieces_equals_the_whole() {
  SourceFrames source;
  const std::vector<float> log_f0 = rising(33), whole = source_in_steps(&source, log_f0, 33, 7);
  for (size_t step : {1, 2, 5, 32}) {
    CHECK(source_in_steps(&source, log_f0, step, 7) == whole, "steps of %zu", step);
  }
  CHECK(source_in_steps(&source, log_f0, 5, 8) != whole, "another seed gives other noise");
}

void test_source_waits_for_two_frames() {
  SourceFrames source;
  const std::vector<float> log_f0 = rising(6);
  source.start(6, 0);
  size_t pushed = 0;
  for (size_t ready : {0, 0, 1, 2, 3, 6}) {
    source.push(log_f0.data() + pushed++, 1);
    CHECK(source.ready() == ready, "after %zu frames: %zu", pushed, source.ready());
  }
}

void test_inverse_equals_the_reference() {
  // istft.inverse of formula_spectrum
  const std::pair<size_t, double> expected[] = {{0, 0.012091},    {1, 0.016581},     {128, 0.009295},
                                                {255, 0.013871},  {256, 0.013284},   {1000, -0.009759},
                                                {1151, 0.000958}, {2000, -0.009722}, {2303, -0.002187}};
  InverseStft inverse;
  const std::vector<float> audio = audio_in_steps(&inverse, formula_spectrum(9), 9);
  CHECK(audio.size() == 9 * kHopSamples);
  for (const auto& [at, value] : expected) CHECK(std::fabs(audio[at] - value) < 2e-6, "sample %zu: %f", at, audio[at]);
}

void test_inverse_in_pieces_equals_the_whole() {
  InverseStft inverse;
  for (size_t frames : {1, 2, 3, 20}) {
    const std::vector<float> rows = formula_spectrum(frames), whole = audio_in_steps(&inverse, rows, frames);
    CHECK(whole.size() == frames * kHopSamples);
    for (size_t step : {1, 2, 3, 7}) CHECK(audio_in_steps(&inverse, rows, step) == whole, "%zu in %zu", frames, step);
  }
}

void test_frames_of_the_excitation_give_it_back() {
  constexpr size_t kFrames = 10;
  SourceFrames source;
  const std::vector<float> log_f0 = rising(kFrames), rows = source_in_steps(&source, log_f0, kFrames, 0);
  std::vector<float> spectrum;
  for (size_t t = 0; t < kFrames; ++t) {
    const float* row = rows.data() + t * kSourceWidth;
    spectrum.insert(spectrum.end(), row, row + kSpectrumWidth);
  }
  InverseStft inverse;
  const std::vector<float> audio = audio_in_steps(&inverse, spectrum, 4);
  PulseTrain train;
  train.append(log_f0.data(), kFrames);
  train.finish();
  std::vector<float> pulses(kFrames * kHopSamples);
  train.read(0, pulses.size(), pulses.data());
  for (size_t n = 0; n < pulses.size(); ++n) {
    CHECK(std::fabs(audio[n] - pulses[n]) < 1e-4, "sample %zu: %f, expected %f", n, audio[n], pulses[n]);
  }
}

}  // namespace

int main() {
  test_forward_transform_is_the_sum_of_its_definition();
  test_real_inverse_undoes_forward();
  test_source_equals_the_reference();
  test_source_in_pieces_equals_the_whole();
  test_source_waits_for_two_frames();
  test_inverse_equals_the_reference();
  test_inverse_in_pieces_equals_the_whole();
  test_frames_of_the_excitation_give_it_back();
  return check::summary();
}
