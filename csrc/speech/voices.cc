#include "speech/voices.h"

#include <cmath>
#include <cstring>

#include "base/error.h"

namespace pocketuni {
namespace {

const std::string kPrefix = "voice/";

}  // namespace

std::vector<std::string> voice_names(const ModelFile& file) {
  std::vector<std::string> names;
  for (const Blob& blob : file.blobs()) {
    if (blob.name.compare(0, kPrefix.size(), kPrefix) == 0) names.push_back(blob.name.substr(kPrefix.size()));
  }
  return names;
}

std::vector<float> stored_voice(const ModelFile& file, const std::string& name) {
  const std::vector<std::string> names = voice_names(file);
  if (names.empty()) fail_argument(file.path() + " holds no voices; pass the 192 floats of one");
  const std::string wanted = kPrefix + (name.empty() ? names[0] : name);
  for (const Blob& blob : file.blobs()) {
    if (blob.name != wanted) continue;
    std::vector<float> vector(blob.size / sizeof(float));
    if (!vector.empty()) std::memcpy(vector.data(), blob.data, vector.size() * sizeof(float));
    try {
      return unit_voice(std::move(vector));
    } catch (const Error& error) {
      fail_format(file.path() + ": '" + wanted + "': " + error.what());
    }
  }
  std::string known;
  for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
  fail_argument("there is no voice '" + name + "'; voices of this model: " + known);
}

std::vector<float> unit_voice(std::vector<float> vector) {
  if (vector.size() != kSpeakerWidth) {
    fail_argument("a voice is " + std::to_string(kSpeakerWidth) + " floats, got " + std::to_string(vector.size()));
  }
  double power = 0;
  for (float value : vector) power += static_cast<double>(value) * static_cast<double>(value);
  if (!std::isfinite(power) || power < 1e-12) fail_argument("a voice's 192 floats must be finite and not all 0");
  const double scale = 1 / std::sqrt(power);
  for (float& value : vector) value = static_cast<float>(value * scale);
  return vector;
}

}  // namespace pocketuni
