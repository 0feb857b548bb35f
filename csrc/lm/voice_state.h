// A voice of Pocket TTS: what the language model has cached of a prompt, compact enough to be kept.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lm/flow_lm.h"

namespace pocketuni {

/// Bytes, little-endian: "PUVS", u32 version 1, 16 bytes of the model's identity, u32 layers, u32 positions, u32 floats
/// of a position's keys, u32 heads that these are of, then f16 [layers][keys, values][positions][floats].
struct VoiceState {
  ModelIdentity model{};
  size_t layers = 0, positions = 0, width = 0, heads = 0;
  std::vector<uint16_t> halves;

  /// Throws Error(kInvalidArgument) for what is no such state or was cut short.
  static VoiceState parse(const uint8_t* data, size_t size);
  std::string bytes() const;

  /// The state of what a language model has seen. `model`: its identity.
  static VoiceState of(const FlowLm& lm, const ModelIdentity& model);
  /// Continues from here. Throws Error(kInvalidArgument) when it is the state of another model.
  void load_into(FlowLm* lm, const ModelIdentity& model) const;
};

/// Throws Error(kInvalidArgument): a state does not fit.
[[noreturn]] void fail_other_model();

}  // namespace pocketuni
