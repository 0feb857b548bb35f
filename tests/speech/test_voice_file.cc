// Voices: in files and back, every byte of a file that is lost or changed is noticed, mixing, similarity, spaces.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "speech/voice_file.h"
#include "speech/voices.h"

using namespace pocketuni;

namespace {

Voice some_voice(unsigned seed, const std::string& name) {
  std::vector<float> vector(kSpeakerWidth);
  for (float& value : vector) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(seed >> 8) / 8388608.0f - 1;
  }
  Voice voice;
  voice.vector = unit_voice(vector);
  for (size_t i = 0; i < voice.space.size(); ++i) voice.space[i] = static_cast<uint8_t>(i * 7);
  voice.seconds = 8.25, voice.confidence = 0.75, voice.log_f0 = 4.75, voice.clone = true;
  voice.name = name;
  return voice;
}

std::string fault_of(const std::function<void()>& action, Status status) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.status() == status, "status of: %s", error.what());
    return error.what();
  }
  return "";
}

std::string decode_fault(const std::vector<unsigned char>& bytes) {
  return fault_of([&] { decode_voice(bytes.data(), bytes.size(), "me.voice"); }, Status::kFormat);
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

void test_round_trip() {
  for (const std::string& name : {std::string(), std::string("Zoë"), std::string(255, 'x')}) {
    const Voice voice = some_voice(3, name);
    const std::vector<unsigned char> bytes = encode_voice(voice);
    CHECK(bytes.size() < 2000, "%zu bytes", bytes.size());
    const Voice back = decode_voice(bytes.data(), bytes.size(), "x");
    CHECK(back.vector == voice.vector && back.space == voice.space && back.name == voice.name && back.clone);
    CHECK(back.seconds == 8.25 && back.confidence == 0.75 && back.log_f0 == 4.75);
    CHECK(encode_voice(back) == bytes);
  }
  CHECK(has(fault_of([] { encode_voice(some_voice(3, std::string(256, 'x'))); }, Status::kInvalidArgument), "255"));
}

void test_every_fault_is_noticed() {
  const std::vector<unsigned char> good = encode_voice(some_voice(5, "me"));
  for (size_t size = 0; size < good.size(); ++size) {
    const std::string fault = decode_fault({good.begin(), good.begin() + static_cast<ptrdiff_t>(size)});
    CHECK(has(fault, "me.voice: ") && (has(fault, "truncated") || has(fault, "not a .voice file")), "%zu bytes: %s",
          size, fault.c_str());
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::vector<unsigned char> bad = good;
    bad[at] ^= 0x10;
    CHECK(!decode_fault(bad).empty(), "byte %zu flipped", at);
  }
  std::vector<unsigned char> longer = good;
  longer.push_back(0);
  CHECK(has(decode_fault(longer), "bytes, but says"));
  std::vector<unsigned char> newer = good;
  newer[8] = 2;
  CHECK(has(decode_fault(newer), "version 2"));
}

/// A file whose hash is right but whose content is not.
void test_contents_out_of_range() {
  const auto rehashed = [](size_t at, float value) {
    std::vector<unsigned char> bytes = encode_voice(some_voice(5, "me"));
    const auto* raw = reinterpret_cast<const unsigned char*>(&value);
    std::copy(raw, raw + 4, bytes.begin() + static_cast<ptrdiff_t>(at));
    const Digest hash = blake2b(bytes.data(), bytes.size() - 16);
    std::copy(hash.begin(), hash.end(), bytes.end() - 16);
    return bytes;
  };
  CHECK(has(decode_fault(rehashed(36, -1.0f)), "out of range"));
  CHECK(has(decode_fault(rehashed(40, std::nanf(""))), "out of range"));
  CHECK(has(decode_fault(rehashed(56, 3.0f)), "unit length"));
  CHECK(has(decode_fault(rehashed(56, std::nanf(""))), "unit length"));
  CHECK(has(decode_fault(rehashed(48, 1.0f)), "sizes do not fit"));
  CHECK(has(decode_fault(rehashed(56 + kSpeakerWidth * sizeof(float) - 2, 0.0f)), "holds a NUL"));
}

void test_files() {
  char folder[] = "/tmp/pocketuni-voice-XXXXXX";
  if (!CHECK(mkdtemp(folder) != nullptr)) return;
  const std::string path = std::string(folder) + "/me.voice", none = std::string(folder) + "/no/me.voice";
  save_voice(some_voice(1, "first"), path);
  save_voice(some_voice(2, "second"), path);  // replaces it
  CHECK(load_voice(path).name == "second");
  CHECK(has(fault_of([&] { load_voice(none); }, Status::kIo), "No such file"));
  CHECK(has(fault_of([&] { save_voice(some_voice(1, ""), none); }, Status::kIo), "No such file"));
  CHECK(has(fault_of([&] { load_voice(folder); }, Status::kIo), "Is a directory"));
  CHECK(has(fault_of([&] { save_voice(some_voice(1, ""), folder); }, Status::kIo), "Is a directory"));
  std::ofstream(path, std::ios::app) << std::string(5000, 'x');
  CHECK(has(fault_of([&] { load_voice(path); }, Status::kFormat), path.c_str()));
  std::remove(path.c_str());
  CHECK(::rmdir(folder) == 0, "temporary files were left");
}

void test_mixing() {
  const Voice a = some_voice(1, "a"), b = some_voice(2, "b");
  CHECK(std::fabs(voice_similarity(a, a) - 1) < 1e-6);
  const Voice same = mix_voices({{2, &a}, {0, &b}});
  CHECK(std::fabs(voice_similarity(same, a) - 1) < 1e-6 && same.seconds == a.seconds);
  const Voice mixed = mix_voices({{0.7, &a}, {0.3, &b}}), scaled = mix_voices({{7, &a}, {3, &b}});
  CHECK(mixed.name == "a + b" && mixed.clone && mixed.seconds == 16.5 && std::fabs(mixed.log_f0 - 4.75) < 1e-9);
  CHECK(voice_similarity(mixed, a) > voice_similarity(mixed, b) && voice_similarity(mixed, scaled) > 1 - 1e-6);
  Voice low = a, unknown = a;
  low.log_f0 = 4.25, unknown.log_f0 = 0;
  CHECK(std::fabs(mix_voices({{1, &a}, {1, &low}}).log_f0 - 4.5) < 1e-9);
  CHECK(mix_voices({{1, &a}, {1, &unknown}}).log_f0 == 0);

  Voice stranger = b, opposite = a;
  stranger.space[0] ^= 1;
  for (float& value : opposite.vector) value = -value;
  const auto fault = [](const std::vector<std::pair<double, const Voice*>>& parts) {
    return fault_of([&] { mix_voices(parts); }, Status::kInvalidArgument);
  };
  CHECK(has(fault({}), "no voices"));
  CHECK(has(fault({{1, &a}, {-0.5, &b}}), "0 or more"));
  CHECK(has(fault({{std::nan(""), &a}}), "0 or more"));
  CHECK(has(fault({{0, &a}, {0, &b}}), "all 0"));
  CHECK(has(fault({{1, &a}, {1, &stranger}}), "different models"));
  CHECK(has(fault({{1, &a}, {1, &opposite}}), "cancel"));
  CHECK(has(fault_of([&] { voice_similarity(a, stranger); }, Status::kInvalidArgument), "different models"));
}

void test_the_space_of_a_model() {
  const auto model = Model::open("tests/speech/cloning.puni");
  const ModelFile& file = model->file();
  const Voice stored = named_voice(file, "bert");
  CHECK(stored.name == "bert" && !stored.clone && stored.seconds == 0 && named_voice(file, "").name == "ada");
  require_space(stored, file);
  CHECK(stored.space == voice_space(file) &&
        stored.space != voice_space(Model::open("tests/speech/frontend.puni")->file()));
  CHECK(has(fault_of([&] { require_space(some_voice(1, "me"), file); }, Status::kInvalidArgument), "another model"));
}

}  // namespace

int main() {
  test_round_trip();
  test_every_fault_is_noticed();
  test_contents_out_of_range();
  test_files();
  test_mixing();
  test_the_space_of_a_model();
  return check::summary();
}
