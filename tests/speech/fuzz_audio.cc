// libFuzzer target: any samples at any rate, cut in any way, make a voice or an Error, the same as uncut. The input
// says the rate, the sizes of the pieces, and sounds one after another (sounds_of); seeds are in tests/fuzz/audio. Run
// it from the repository's root.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "speech/audio_frames.h"
#include "speech/voice_builder.h"
#include "speech/voice_file.h"

using namespace pocketuni;

namespace {

constexpr size_t kMostResults = 4000;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Reads the input; zeros behind its end.
struct Input {
  const uint8_t* data;
  size_t size;

  bool done() const { return size == 0; }
  uint8_t byte() {
    if (size == 0) return 0;
    --size;
    return *data++;
  }
  uint32_t word() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value |= static_cast<uint32_t>(byte()) << 8 * i;
    return value;
  }
  float number() {  // any bits: infinities, NaN, denormals
    const uint32_t bits = word();
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
};

/// Sounds, each a byte for its kind, one for its length and what the kind needs: a few bytes make a second of audio.
/// The first byte limits them all: what goes wrong shows in few samples, only a voice needs half a second.
std::vector<float> sounds_of(Input* input) {
  const size_t most = size_t{96} << input->byte() % 7;
  std::vector<float> x;
  uint32_t random = 1;
  while (!input->done() && x.size() < most) {
    const uint8_t kind = input->byte() % 6;
    const size_t length = static_cast<size_t>(input->byte()) * (kind < 2 ? 1 : 32);
    const float level = kind < 2 ? 0 : static_cast<float>(input->byte()) / 200;
    const double step = kind == 2 ? input->byte() * 0.003 : 0;
    const float held = kind == 5 ? input->number() : 0;
    const size_t start = x.size();
    for (size_t i = 0; i < std::min(length, most - start); ++i) {
      switch (kind) {
        case 0:
          x.push_back(input->number());
          break;
        case 1:
          x.push_back(static_cast<float>(static_cast<int8_t>(input->byte())) / 128);
          break;
        case 2: {  // a tone with overtones, something like a vowel
          const double angle = static_cast<double>(i) * step;
          x.push_back(level *
                      static_cast<float>(std::sin(angle) / 2 + std::sin(3 * angle) / 3 + std::sin(8 * angle) / 4));
          break;
        }
        case 3:
          random = random * 1664525 + 1013904223;
          x.push_back(level * (static_cast<float>(random >> 8) / 8388608.0f - 1));
          break;
        case 4:
          x.push_back(0);
          break;
        default:
          x.push_back(held);
      }
    }
  }
  return x;
}

/// Calls `take` with pieces whose sizes `seed` decides; one piece for 0.
void cut(const std::vector<float>& x, uint32_t seed, const std::function<void(const float*, size_t)>& take) {
  for (size_t at = 0; at < x.size();) {
    seed = seed == 0 ? 0 : seed * 1664525 + 1013904223;
    const size_t most = size_t{1} << (seed >> 28), piece = seed == 0 ? x.size() : 1 + (seed >> 8) % most;
    take(x.data() + at, std::min(piece, x.size() - at));
    at += std::min(piece, x.size() - at);
  }
}

void append_bits(const std::vector<float>& values, std::vector<unsigned char>* bytes) {
  const auto* first = reinterpret_cast<const unsigned char*>(values.data());
  bytes->insert(bytes->end(), first, first + values.size() * sizeof(float));
}

/// Mel, pitch and the change of rate take samples that nobody checked: they give numbers or NaN, here as bytes.
std::vector<unsigned char> meter(const std::vector<float>& x, int64_t from_hz, int64_t to_hz, uint32_t seed) {
  std::vector<float> resampled, mel;
  std::vector<PitchFrame> pitches;
  Resampler resampler(from_hz, to_hz);
  for (int again : {0, 1}) {  // finish() makes it ready for another sequence
    (void)again;
    cut(x, seed, [&](const float* at, size_t n) { resampler.push(at, n, &resampled); });
    resampler.finish(&resampled);
  }
  const auto count = static_cast<int64_t>(x.size());
  require(static_cast<int64_t>(resampled.size()) == 2 * ((count * to_hz + from_hz - 1) / from_hz));

  MelFrames mel_frames(SessionOptions{1, nullptr});
  PitchFrames pitch_frames;
  cut(x, seed, [&](const float* at, size_t n) {
    mel_frames.push(at, n, &mel);
    pitch_frames.push(at, n, &pitches);
  });
  PitchMedian median;
  for (const PitchFrame& frame : pitches) median.add(frame);
  const double log_f0 = median.log_f0();
  require(log_f0 == 0 || (log_f0 > std::log(50.0) && log_f0 < std::log(600.0)));

  std::vector<unsigned char> bytes;
  append_bits(resampled, &bytes);
  append_bits(mel, &bytes);
  append_bits({static_cast<float>(pitches.size()), static_cast<float>(log_f0)}, &bytes);
  return bytes;
}

/// The voice's bytes, or what the builder refused.
std::vector<unsigned char> hear(const std::shared_ptr<const Model>& model, const std::vector<float>& x, int64_t rate_hz,
                                uint32_t seed) {
  try {
    VoiceBuilder builder(model, rate_hz, SessionOptions{1, nullptr});
    try {
      cut(x, seed, [&](const float* at, size_t n) { builder.feed(at, n); });
    } catch (const Error&) {  // how much was taken before the fault depends on the pieces
      return {1};
    }
    require(builder.confidence() >= 0 && builder.confidence() <= 1 && builder.advice().size() < 10);
    require(builder.level().peak_db >= -120 && builder.seconds() <= builder.heard_seconds() + 0.1);
    return encode_voice(builder.voice());
  } catch (const Error& error) {
    const std::string text = error.what();
    return {text.begin(), text.end()};
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto model = Model::open("tests/speech/cloning.puni");
  Input input{data, size};
  const uint8_t mode = input.byte();
  const uint32_t seed = input.word() | 1;
  // Multiples of 1,050 Hz share so much with 22,050 that their tables take no time; a few are multiples of 50.
  const uint32_t number = input.word();
  const int64_t rate_hz = mode == 3 ? 8000 + number % 3681 * 50 : 8400 + number % 175 * 1050;
  const int widest = mode == 2 ? 256 : 32;  // numbers in a ratio
  const int64_t from_hz = 1 + input.byte() % widest, to_hz = 1 + input.byte() % widest;
  std::vector<float> x = sounds_of(&input);
  if (mode % 8 == 0) {
    try {
      const auto low = static_cast<int64_t>(number);
      if (low < kLeastInputHz || low > kMostInputHz) VoiceBuilder(model, low, SessionOptions{1, nullptr});
      Resampler(-low, 1);
    } catch (const Error&) {
    }
  }
  const bool hears = mode % 2 == 1;
  if (!hears) x.resize(std::min(x.size(), kMostResults * static_cast<size_t>(from_hz) / static_cast<size_t>(to_hz)));
  const auto taken = [&](uint32_t cuts) {
    return hears ? hear(model, x, rate_hz, cuts) : meter(x, from_hz, to_hz, cuts);
  };
  const std::vector<unsigned char> result = taken(seed);
  if (mode < 64) require(result == taken(0));  // uncut
  return 0;
}
