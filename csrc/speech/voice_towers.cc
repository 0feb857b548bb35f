#include "speech/voice_towers.h"

#include <algorithm>

#include "base/error.h"
#include "speech/voices.h"

namespace pocketuni {
namespace {

std::string port_text(const Port& port) {
  std::string text = std::string(port.name) + " " + dtype_name(port.dtype) + " [";
  for (size_t i = 0; i < port.dims.size(); ++i) {
    text += (i ? ", " : "") + (port.dims[i] < 0 ? std::string("any") : std::to_string(port.dims[i]));
  }
  return text + "]";
}

bool fits(const ValueSpec& value, const Port& port) {
  if (value.name != port.name || value.dtype != port.dtype || value.dims.size() != port.dims.size()) return false;
  for (size_t i = 0; i < port.dims.size(); ++i) {
    if (port.dims[i] >= 0 && value.dims[i] != port.dims[i]) return false;
  }
  return true;
}

}  // namespace

std::vector<size_t> find_ports(const TowerSpec& spec, const std::vector<uint32_t>& indices, const char* kind,
                               const std::vector<Port>& ports, bool exact) {
  std::vector<size_t> places;
  for (const Port& port : ports) {
    const auto found =
        std::find_if(indices.begin(), indices.end(), [&](uint32_t index) { return fits(spec.values[index], port); });
    if (found == indices.end()) {
      std::string names;
      for (uint32_t index : indices) names += (names.empty() ? "" : ", ") + spec.values[index].name;
      fail_argument("tower '" + spec.name + "': expected the " + kind + " " + port_text(port) + "; it has: " + names);
    }
    places.push_back(static_cast<size_t>(found - indices.begin()));
  }
  if (exact && indices.size() != ports.size()) {
    fail_argument("tower '" + spec.name + "': expected " + std::to_string(ports.size()) + " " + kind + "s, got " +
                  std::to_string(indices.size()));
  }
  return places;
}

void require_voice_towers(const ModelFile& file) {
  std::string missing;
  for (const char* name : {"g2p", "voice.encoder", "voice.decoder", "voice.pitch", "voice.vocoder"}) {
    const bool there = std::any_of(file.towers().begin(), file.towers().end(),
                                   [&](const TowerSpec& tower) { return tower.name == name; });
    if (!there) missing += (missing.empty() ? "" : ", ") + std::string(name);
  }
  if (!missing.empty()) {
    fail_argument(file.path() + " cannot speak: it lacks the towers " + missing + "; open a voice model");
  }
}

Tensor rows_view(const std::vector<float>& data, size_t rows, size_t width) {
  Tensor tensor;
  tensor.type.shape = {1, static_cast<int64_t>(rows)};
  if (width > 0) tensor.type.shape.push_back(static_cast<int64_t>(width));
  tensor.data = const_cast<float*>(data.data());
  return tensor;
}

VoiceEncoder::VoiceEncoder(std::shared_ptr<const Model> model, const SessionOptions& options)
    : session_(std::move(model), "voice.encoder", options) {
  const TowerSpec& spec = session_.spec();
  const Port units{"units", DType::kI64, {1, -1}}, flags{"flags", DType::kI64, {1, -1}};
  const Port speaker{"speaker", DType::kF32, {1, static_cast<int64_t>(kSpeakerWidth)}};
  inputs_ = find_ports(spec, spec.inputs, "input", {units, flags, speaker}, true);
  std::vector<Port> results = {{"hidden", DType::kF32, {1, -1, -1}}};
  for (const char* name : {"log_frames", "pitch", "voiced", "energy"}) results.push_back({name, DType::kF32, {1, -1}});
  outputs_ = find_ports(spec, spec.outputs, "output", results, false);
  const Dim width = spec.values[spec.outputs[outputs_[0]]].dims[2];
  if (width <= 0) fail_argument("tower 'voice.encoder': the width of 'hidden' is not a constant");
  width_ = static_cast<size_t>(width);
}

UnitFeatures VoiceEncoder::run(const Utterance& utterance, const std::vector<float>& speaker) {
  const auto count = static_cast<int64_t>(utterance.units.size());
  std::vector<Tensor> inputs(3);
  inputs[inputs_[0]] = {{DType::kI64, {1, count}}, const_cast<int64_t*>(utterance.units.data())};
  inputs[inputs_[1]] = {{DType::kI64, {1, count}}, const_cast<int64_t*>(utterance.flags.data())};
  inputs[inputs_[2]] = rows_view(speaker, speaker.size(), 0);
  const std::vector<Tensor>& outputs = session_.run(inputs);
  UnitFeatures features;
  features.width = width_;
  std::vector<float>* const parts[] = {&features.hidden, &features.log_frames, &features.pitch, &features.voiced,
                                       &features.energy};
  for (size_t i = 0; i < 5; ++i) {
    const Tensor& tensor = outputs[outputs_[i]];
    const Shape expected = i == 0 ? Shape{1, count, static_cast<int64_t>(width_)} : Shape{1, count};
    if (tensor.type.shape != expected) {
      fail_argument("tower 'voice.encoder': an output is " + shape_text(tensor.type.shape) + ", expected " +
                    shape_text(expected));
    }
    parts[i]->assign(tensor.f32(), tensor.f32() + element_count(expected));
  }
  return features;
}

}  // namespace pocketuni
