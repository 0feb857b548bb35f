// libFuzzer target: models that speak and hear, with changed sizes, numbers, weights and tables, do so or say what is
// wrong. An input is a byte that chooses the model, then changes of four bytes each. Run it from the repository's root.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "base/error.h"
#include "format/build_file.h"
#include "speech/speech_stream.h"
#include "speech/voice_builder.h"
#include "speech/voice_file.h"

using namespace pocketuni;

namespace {

struct Section {
  size_t offset, size;
};

/// A file, and where in it there is what can be changed.
struct Original {
  explicit Original(const char* path) {
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes.empty()) std::abort();
    const auto count = build::get<uint32_t>(bytes, 12);
    for (size_t entry = 64; entry < 64 + 64 * size_t{count}; entry += 64) {
      const Section section{build::get<uint64_t>(bytes, entry + 8), build::get<uint64_t>(bytes, entry + 16)};
      if (std::memcmp(&bytes[entry], "TENS", 4) == 0) tensors = section;
      if (std::memcmp(&bytes[entry], "TOWR", 4) == 0) towers = section;
      if (std::memcmp(&bytes[entry], "BLOB", 4) == 0) blobs = section;
      if (std::memcmp(&bytes[entry], "DATA", 4) == 0) data = section;
    }
    for (size_t at = towers.offset; at + 8 <= towers.offset + towers.size; ++at) {
      const auto number = build::get<int64_t>(bytes, at);
      if (number >= -8 && number <= 4096 && number != 0) numbers.push_back(at);
    }
  }

  build::Bytes bytes;
  Section tensors{}, towers{}, blobs{}, data{};
  std::vector<size_t> numbers;  // what may be dimensions and attributes of towers
};

build::Bytes changed(const Original& original, const uint8_t* data, size_t size) {
  constexpr int64_t kNumbers[] = {0,         1,  2,  3,  4,        7, 8, 64, 1000, 1 << 20, int64_t{1} << 31,
                                  INT64_MAX, -1, -2, -3, INT64_MIN};
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float floats[] = {0, 1, -1, 1e30f, -1e30f, 1e-40f, kInfinity, std::nanf("")};
  build::Bytes file = original.bytes;
  for (; size >= 4; data += 4, size -= 4) {
    const size_t place = data[1] | size_t{data[2]} << 8;
    const uint8_t value = data[3];
    const auto byte_in = [&](const Section& section) { file[section.offset + place % section.size] = value; };
    switch (data[0] % 6) {
      case 0:
        build::set(file, original.numbers[place % original.numbers.size()], kNumbers[value % 16]);
        break;
      case 1: {
        const size_t at = original.numbers[place % original.numbers.size()];
        build::set(file, at, build::get<uint64_t>(file, at) + static_cast<uint64_t>(static_cast<int8_t>(value)));
        break;
      }
      case 2:
        byte_in(original.towers);
        break;
      case 3:
        byte_in(original.tensors);
        break;
      case 4:
        byte_in(original.blobs);
        break;
      default:
        build::set(file, original.data.offset + place % (original.data.size / 4) * 4, floats[value % 8]);
    }
  }
  build::reseal(file);
  return file;
}

void speak(const std::shared_ptr<const Model>& model) {
  SpeechStream speech(model, {});
  speech.push("Oh, it is zoom 5!");
  speech.finish();
  size_t samples = 0;
  while (samples < 60000) {
    const SpeechChunk* chunk = speech.next();
    if (chunk == nullptr) break;
    samples += chunk->samples.size();
    for (float sample : chunk->samples) {
      if (!(sample >= -1 && sample <= 1)) std::abort();
    }
  }
}

void hear(const std::shared_ptr<const Model>& model) {
  std::vector<float> tone(22050);
  for (size_t i = 0; i < tone.size(); ++i) tone[i] = static_cast<float>(std::sin(0.04 * static_cast<double>(i)) / 2);
  VoiceBuilder builder(model, 22050, SessionOptions{1, nullptr});
  builder.feed(tone.data(), tone.size());
  encode_voice(builder.voice());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Original speaking("tests/speech/speaking.puni"), cloning("tests/speech/cloning.puni");
  if (size == 0) return 0;
  const bool speaks = data[0] % 2 == 0;
  const build::Bytes bytes = changed(speaks ? speaking : cloning, data + 1, size - 1);
  try {
    const auto model = Model::from_memory(bytes.data(), bytes.size());
    speaks ? speak(model) : hear(model);
  } catch (const Error&) {
  }
  return 0;
}
