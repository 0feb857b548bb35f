// F0 of recordings: right within a percent or two for pulses of known pitch, also in noise; silence has none; pieces
// give what the whole gives.
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "speech/pitch_meter.h"
#include "speech/voice_sounds.h"

using namespace pocketuni;

namespace {

std::vector<PitchFrame> frames_of(const std::vector<float>& x) {
  PitchFrames meter;
  std::vector<PitchFrame> frames;
  meter.push(x.data(), x.size(), &frames);
  return frames;
}

double median_hz(const std::vector<float>& x) {
  PitchMedian median;
  for (const PitchFrame& frame : frames_of(x)) median.add(frame);
  return median.log_f0() == 0 ? 0 : std::exp(median.log_f0());
}

void test_known_pitches() {
  for (double hz : {70.0, 95.0, 130.0, 180.0, 240.0, 330.0, 390.0}) {
    for (double formant : {400.0, 700.0, 1100.0}) {
      const std::vector<float> clean = sounds::voice(22050, 2, hz, formant, 0.3f);
      CHECK(std::fabs(median_hz(clean) / hz - 1) < 0.02, "%g Hz, formant %g: %g", hz, formant, median_hz(clean));
      const double noisy = median_hz(sounds::mixed(clean, sounds::noise(22050, 2, 0.03f)));
      CHECK(std::fabs(noisy / hz - 1) < 0.03, "%g Hz, formant %g, in noise: %g", hz, formant, noisy);
    }
  }
}

void test_what_has_no_pitch() {
  CHECK(median_hz(sounds::silence(22050, 2)) == 0);
  CHECK(median_hz({}) == 0);
  size_t voiced = 0;
  const std::vector<PitchFrame> frames = frames_of(sounds::noise(22050, 4, 0.1f));
  for (const PitchFrame& frame : frames) voiced += frame.hz > 0;
  CHECK(frames.size() > 160 && voiced < frames.size() / 20, "%zu of %zu frames of noise", voiced, frames.size());
}

void test_faint_frames_do_not_count() {
  using sounds::operator+;
  const std::vector<float> loud = sounds::voice(22050, 1, 120, 500, 0.3f);
  const std::vector<float> faint = sounds::voice(22050, 4, 250, 500, 0.01f);
  const double hz = median_hz(loud + faint);
  CHECK(std::fabs(hz / 120 - 1) < 0.02, "%g Hz", hz);
}

void test_pieces() {
  const std::vector<float> x = sounds::voice(22050, 1, 150, 600, 0.3f);
  const std::vector<PitchFrame> want = frames_of(x);
  CHECK(want.size() >= 38 && want.size() <= 43, "%zu frames of a second", want.size());
  std::mt19937 rng(4);
  PitchFrames meter;
  std::vector<PitchFrame> frames;
  for (size_t at = 0; at < x.size();) {
    const size_t piece = std::min<size_t>(x.size() - at, rng() % 700);
    meter.push(x.data() + at, piece, &frames);
    at += piece;
  }
  CHECK(frames.size() == want.size() &&
        std::memcmp(frames.data(), want.data(), frames.size() * sizeof(PitchFrame)) == 0);
}

}  // namespace

int main() {
  test_known_pitches();
  test_what_has_no_pitch();
  test_faint_frames_do_not_count();
  test_pieces();
  return check::summary();
}
