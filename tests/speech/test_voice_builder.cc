// Voices from samples: the same bits for any pieces and threads, silence does not count, what is wrong with a recording
// is told, and bad samples are refused.
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "speech/voice_builder.h"
#include "speech/voice_file.h"
#include "speech/voice_sounds.h"

using namespace pocketuni;
using sounds::operator+;

namespace {

std::shared_ptr<const Model> model() {
  static const std::shared_ptr<const Model> opened = Model::open("tests/speech/cloning.puni");
  return opened;
}

std::unique_ptr<VoiceBuilder> heard(const std::vector<float>& x, int64_t rate_hz = 16000, size_t most = 1 << 20,
                                    int threads = 1) {
  auto builder = std::make_unique<VoiceBuilder>(model(), rate_hz, SessionOptions{threads, nullptr});
  std::mt19937 rng(7);
  for (size_t at = 0; at < x.size();) {
    const size_t piece = std::min<size_t>(x.size() - at, most == 1 ? 1 : 1 + rng() % most);
    builder->feed(x.data() + at, piece);
    at += piece;
  }
  return builder;
}

std::string fault_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.status() == Status::kInvalidArgument, "status of: %s", error.what());
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::string joined(const std::vector<std::string>& sentences) {
  std::string all;
  for (const std::string& sentence : sentences) all += sentence + "\n";
  return all;
}

void test_pieces_and_threads_give_the_whole() {
  for (int64_t rate_hz : {8000, 16000, 22050, 44100, 96000}) {
    if (check::slow_cpu() && rate_hz != 16000) continue;
    const auto rate = static_cast<double>(rate_hz);
    const std::vector<float> x = sounds::voice(rate, 1.5, 140, 700, 0.3f) + sounds::silence(rate, 0.5) +
                                 sounds::voice(rate, 1.0, 150, 600, 0.2f);
    const std::vector<unsigned char> want = encode_voice(heard(x, rate_hz)->voice());
    for (size_t most : {37u, 160u, 3000u, 50000u}) {
      for (int threads : {1, 3}) {
        const std::vector<unsigned char> got = encode_voice(heard(x, rate_hz, most, threads)->voice());
        CHECK(got == want, "%lld Hz, pieces of up to %zu, %d threads", static_cast<long long>(rate_hz), most, threads);
      }
    }
  }
  const std::vector<float> x = sounds::voice(16000, 1, 140, 700, 0.3f);
  CHECK(encode_voice(heard(x, 16000, 1)->voice()) == encode_voice(heard(x)->voice()), "sample by sample");
}

void test_a_voice_at_any_moment_is_that_of_what_was_fed() {
  const std::vector<float> x = sounds::voice(16000, 4, 140, 700, 0.3f);
  VoiceBuilder builder(model(), 16000, {1, nullptr});
  double seconds = 0;
  for (size_t at = 0; at < x.size(); at += 8000) {
    builder.feed(x.data() + at, 8000);
    CHECK(builder.seconds() >= seconds, "seconds of speech go down");
    seconds = builder.seconds();
    if (seconds < kLeastSpeechSeconds) continue;
    const std::vector<float> part(x.begin(), x.begin() + static_cast<ptrdiff_t>(at + 8000));
    CHECK(encode_voice(builder.voice()) == encode_voice(heard(part)->voice()), "after %zu samples", part.size());
  }
  CHECK(std::fabs(builder.heard_seconds() - 4) < 1e-9 && seconds > 3, "%g s", seconds);
}

void test_silence_does_not_count() {
  const std::vector<float> voice = sounds::voice(16000, 3, 140, 700, 0.3f);
  const std::unique_ptr<VoiceBuilder> pure = heard(voice);
  const std::unique_ptr<VoiceBuilder> padded = heard(sounds::silence(16000, 20) + voice + sounds::silence(16000, 20));
  CHECK(std::fabs(padded->seconds() - pure->seconds()) < 0.15, "%g and %g s", padded->seconds(), pure->seconds());
  const Voice a = padded->voice(), b = heard(voice)->voice();
  CHECK(voice_similarity(a, b) > 0.999, "%g", voice_similarity(a, b));
  CHECK(std::fabs(std::exp(a.log_f0) / 140 - 1) < 0.02 && a.clone && a.seconds == padded->seconds());
}

void test_levels() {
  const std::vector<float> half(16000, 0.5f);
  const Level level = heard(half)->level();
  CHECK(std::fabs(level.rms_db + 6.02) < 0.1 && std::fabs(level.peak_db + 6.02) < 0.1, "%g %g", level.rms_db,
        level.peak_db);
  const Level later = heard(half + sounds::silence(16000, 1))->level();
  CHECK(later.rms_db == -120 && later.peak_db == -120, "only the last 300 ms count: %g", later.rms_db);
  CHECK(heard({})->level().rms_db == -120);
}

void test_advice() {
  const std::vector<float> good = sounds::voice(16000, 12, 140, 700, 0.3f);
  CHECK(heard(good)->advice().empty(), "%s", joined(heard(good)->advice()).c_str());
  CHECK(heard(good)->confidence() > kEnoughConfidence, "%g", heard(good)->confidence());
  const auto advice = [](const std::vector<float>& x) { return joined(heard(x)->advice()); };
  CHECK(has(advice({}), "Nothing was recorded"));
  CHECK(has(advice(sounds::silence(16000, 3)), "silent"));
  CHECK(has(advice(sounds::voice(16000, 2, 140, 700, 0.3f)), "s of speech were heard"));
  std::vector<float> clipped = good;
  for (float& value : clipped) value = std::fmax(-0.1f, std::fmin(0.1f, value));
  CHECK(has(advice(clipped), "clipped"), "%s", advice(clipped).c_str());
  const std::vector<float> noisy = sounds::mixed(good, sounds::noise(16000, 12, 0.1f));
  CHECK(has(advice(noisy), "noisy"), "%s", advice(noisy).c_str());
  CHECK(heard(noisy)->confidence() < heard(good)->confidence());
  std::vector<float> other = sounds::noise(16000, 12, 0.1f);
  for (int times = 0; times < 3; ++times) {  // a whisperer: without low frequencies
    for (size_t i = other.size() - 1; i > 0; --i) other[i] = (other[i] - other[i - 1]) / 2;
  }
  CHECK(has(advice(good + other), "Several speakers"), "%s", advice(good + other).c_str());
  CHECK(has(joined(heard(sounds::voice(8000, 8, 140, 700, 0.3f), 8000)->advice()), "8000 samples a second"));
}

void test_confidence_grows_with_speech() {
  double last = 0;
  for (double seconds : {0.5, 1.0, 2.0, 4.0, 8.0, 16.0}) {
    const double confidence = heard(sounds::voice(16000, seconds, 140, 700, 0.3f))->confidence();
    CHECK(confidence > last && confidence <= 1, "%g s: %g after %g", seconds, confidence, last);
    last = confidence;
  }
}

void test_bad_input() {
  for (int64_t rate_hz : {int64_t{-1}, int64_t{0}, int64_t{7999}, int64_t{192001}, int64_t{1} << 40}) {
    const std::string fault = fault_of([&] { VoiceBuilder builder(model(), rate_hz, {1, nullptr}); });
    CHECK(has(fault, "expected 8000 to 192000"), "%s", fault.c_str());
  }
  const std::unique_ptr<VoiceBuilder> builder = heard(sounds::voice(16000, 1, 140, 700, 0.3f));
  const std::vector<unsigned char> before = encode_voice(builder->voice());
  for (float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF, 20000.0f}) {
    std::vector<float> x(100, 0.1f);
    x[42] = bad;
    const std::string fault = fault_of([&] { builder->feed(x.data(), x.size()); });
    CHECK(has(fault, "sample 42 of 100"), "%s", fault.c_str());
  }
  CHECK(encode_voice(builder->voice()) == before, "refused samples leave no trace");
  CHECK(
      has(fault_of([] { heard(sounds::silence(16000, 2))->voice(); }), "too little speech for a voice. The recording"));
  const auto text_model = Model::open("tests/speech/frontend.puni");
  CHECK(has(fault_of([&] { VoiceBuilder other(text_model, 16000, {1, nullptr}); }), "lacks the tower voice.speaker"));
}

}  // namespace

int main() {
  test_pieces_and_threads_give_the_whole();
  test_a_voice_at_any_moment_is_that_of_what_was_fed();
  test_silence_does_not_count();
  test_levels();
  test_advice();
  test_confidence_grows_with_speech();
  test_bad_input();
  return check::summary();
}
