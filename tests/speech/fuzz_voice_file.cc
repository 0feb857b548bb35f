// libFuzzer target: any bytes are either a voice or an Error; a voice survives being written, mixed and compared. Seeds
// are in tests/speech/corpus_voice:
//   fuzz_voice_file -dict=tests/speech/voice_file.dict CORPUS tests/speech/corpus_voice
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "speech/voice_file.h"
#include "speech/voices.h"

using namespace pocketuni;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void use(const std::vector<unsigned char>& bytes) {
  const Voice voice = decode_voice(bytes.data(), bytes.size(), "fuzz");
  require(voice.vector.size() == kSpeakerWidth && voice.name.size() <= kMaxVoiceName);
  require(voice_similarity(voice, voice) > 0.99);
  const Voice mixed = mix_voices({{0.5, &voice}, {2.0, &voice}});
  double power = 0;
  for (float value : mixed.vector) power += static_cast<double>(value) * static_cast<double>(value);
  require(std::fabs(power - 1) < 1e-3);
  const std::vector<unsigned char> again = encode_voice(voice);
  const Voice back = decode_voice(again.data(), again.size(), "fuzz");
  require(encode_voice(back) == again && back.name == voice.name && back.vector == voice.vector);
}

/// The fuzzer cannot guess the hash or the length; right ones let it reach what lies behind them.
std::vector<unsigned char> sealed(const uint8_t* data, size_t size) {
  std::vector<unsigned char> bytes(data, data + size);
  const unsigned char magic[8] = {0x89, 'P', 'U', 'V', 0x0d, 0x0a, 0x1a, 0x0a};
  std::memcpy(bytes.data(), magic, sizeof magic);
  const auto stated = static_cast<uint32_t>(size);
  std::memcpy(bytes.data() + 12, &stated, sizeof stated);
  const Digest hash = blake2b(bytes.data(), size - 16);
  std::memcpy(bytes.data() + size - 16, hash.data(), hash.size());
  return bytes;
}

/// The vector at unit length, so that what follows it is looked at.
void normalize(std::vector<unsigned char>* bytes) {
  std::vector<float> vector(kSpeakerWidth);
  std::memcpy(vector.data(), bytes->data() + 56, kSpeakerWidth * sizeof(float));
  for (float& value : vector) value = std::isfinite(value) && std::fabs(value) < 1e6f ? value : 1.0f;
  vector[0] += vector[0] == 0 ? 1.0f : 0.0f;
  double power = 0;
  for (float value : vector) power += static_cast<double>(value) * static_cast<double>(value);
  for (float& value : vector) value = static_cast<float>(static_cast<double>(value) / std::sqrt(power));
  std::memcpy(bytes->data() + 56, vector.data(), kSpeakerWidth * sizeof(float));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kWhole = 56 + kSpeakerWidth * sizeof(float) + 16;
  std::vector<std::vector<unsigned char>> forms = {{data, data + size}};
  if (size >= kWhole) {
    forms.push_back(sealed(data, size));
    std::vector<unsigned char> unit(data, data + size);
    normalize(&unit);
    forms.push_back(sealed(unit.data(), size));
  }
  for (const std::vector<unsigned char>& bytes : forms) {
    try {
      use(bytes);
    } catch (const Error&) {
    }
  }
  return 0;
}
