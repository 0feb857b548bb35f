#include "speech/voice.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "speech/voices.h"

namespace pocketuni {
namespace {

const char kSpaceBlob[] = "voice_space";

/// Adds the hashes of a tower's weights, in the order in which its nodes read them; false when there is no such tower.
bool add_weights(const ModelFile& file, const char* name, Blake2b* hash) {
  const auto& towers = file.towers();
  const auto tower =
      std::find_if(towers.begin(), towers.end(), [&](const TowerSpec& each) { return each.name == name; });
  if (tower == towers.end()) return false;
  for (const NodeSpec& node : tower->nodes) {
    for (const Operand& operand : node.inputs) {
      if (operand.kind != Operand::kTensor) continue;
      const Digest& weights = file.tensors()[operand.index].hash;
      hash->update(weights.data(), weights.size());
    }
  }
  return true;
}

void require_same_space(const Voice& a, const Voice& b) {
  if (a.space == b.space) return;
  fail_argument("the voices '" + a.name + "' and '" + b.name +
                "' belong to different models: they cannot be compared "
                "or mixed; make both with one model");
}

}  // namespace

Digest voice_space(const ModelFile& file) {
  for (const Blob& blob : file.blobs()) {
    if (blob.name != kSpaceBlob) continue;
    Digest space;
    if (blob.size != space.size()) {
      fail_format(file.path() + ": the blob 'voice_space' has " + std::to_string(blob.size) + " bytes, expected 16");
    }
    std::copy(blob.data, blob.data + blob.size, space.begin());
    return space;
  }
  Blake2b hash;
  if (!add_weights(file, "voice.speaker_head", &hash)) {
    add_weights(file, "voice.encoder", &hash);
    add_weights(file, "voice.decoder", &hash);
  }
  return hash.finish();
}

std::string checked_voice_name(const std::string& name) {
  if (name.size() > kMaxVoiceName || name.find('\0') != std::string::npos) {
    fail_argument("the name of a voice has " + std::to_string(name.size()) +
                  " bytes, expected at most 255 and no NUL among them");
  }
  return name;
}

Voice named_voice(const ModelFile& file, const std::string& name) {
  Voice voice;
  voice.vector = stored_voice(file, name);
  voice.space = voice_space(file);
  voice.name = name.empty() ? voice_names(file)[0] : name;
  return voice;
}

void require_space(const Voice& voice, const ModelFile& file) {
  if (voice.space == voice_space(file)) return;
  fail_argument("the voice '" + voice.name + "' was made for another model than " + file.path() +
                ": make it again with this one, from its recording");
}

double voice_similarity(const Voice& a, const Voice& b) {
  require_same_space(a, b);
  double sum = 0;
  for (size_t i = 0; i < kSpeakerWidth; ++i) {
    sum += static_cast<double>(a.vector[i]) * static_cast<double>(b.vector[i]);
  }
  return std::clamp(sum, -1.0, 1.0);
}

Voice mix_voices(const std::vector<std::pair<double, const Voice*>>& parts) {
  if (parts.empty()) fail_argument("there are no voices to mix");
  double total = 0;
  for (const auto& [weight, voice] : parts) {
    if (!std::isfinite(weight) || weight < 0) fail_argument("the weight of a voice must be 0 or more, and finite");
    require_same_space(*parts[0].second, *voice);
    total += weight;
  }
  if (!std::isfinite(total) || total <= 0) fail_argument("the weights of mixed voices are all 0");
  Voice mixed;
  mixed.space = parts[0].second->space;
  std::vector<double> sum(kSpeakerWidth);
  double log_f0 = 0;
  bool has_f0 = true;
  std::set<std::string> named;
  for (const auto& [weight, voice] : parts) {
    if (weight == 0) continue;
    for (size_t i = 0; i < kSpeakerWidth; ++i) sum[i] += weight / total * static_cast<double>(voice->vector[i]);
    log_f0 += weight / total * voice->log_f0;
    has_f0 = has_f0 && voice->log_f0 != 0;
    mixed.seconds += voice->seconds;
    mixed.confidence = std::min(mixed.confidence, voice->confidence);
    mixed.clone = mixed.clone || voice->clone;
    if (named.insert(voice->name).second) mixed.name += (mixed.name.empty() ? "" : " + ") + voice->name;
  }
  mixed.log_f0 = has_f0 ? log_f0 : 0;
  if (mixed.name.size() > kMaxVoiceName) mixed.name = "mixed";
  double power = 0;
  for (double value : sum) power += value * value;
  if (power < 1e-6) fail_argument("the voices cancel each other out: nothing is left of their mix");
  mixed.vector = unit_voice(std::vector<float>(sum.begin(), sum.end()));
  return mixed;
}

}  // namespace pocketuni
