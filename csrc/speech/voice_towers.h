// The towers of a voice model (docs/voice.md): that they have the inputs and outputs of the contract, and the encoder.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "graph/session.h"
#include "speech/prosody.h"

namespace pocketuni {

constexpr size_t kMels = 80;

/// An input or output that the contract names. A dim of -1 is free.
struct Port {
  const char* name;
  DType dtype;
  std::vector<int64_t> dims;
};

/// Places of the named ports among a tower's inputs, or outputs. Throws Error(kInvalidArgument) that says what the
/// tower has instead. `exact`: the tower has no others.
std::vector<size_t> find_ports(const TowerSpec& spec, const std::vector<uint32_t>& indices, const char* kind,
                               const std::vector<Port>& ports, bool exact);

/// Throws Error(kInvalidArgument) listing the towers that a model lacks to speak.
void require_voice_towers(const ModelFile& file);

/// A view of `rows` rows of floats, [1, rows, width]; [1, rows] for width 0.
Tensor rows_view(const std::vector<float>& data, size_t rows, size_t width);

/// Runs voice.encoder. Not thread-safe.
class VoiceEncoder {
 public:
  VoiceEncoder(std::shared_ptr<const Model> model, const SessionOptions& options);
  /// `speaker`: 192 floats of unit length.
  UnitFeatures run(const Utterance& utterance, const std::vector<float>& speaker);
  const char* isa() const { return session_.isa(); }
  /// Floats of a row of `hidden`.
  size_t width() const { return width_; }

 private:
  Session session_;
  size_t width_;
  std::vector<size_t> inputs_, outputs_;  // places, in the order of the contract
};

}  // namespace pocketuni
