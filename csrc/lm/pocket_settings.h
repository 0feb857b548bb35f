// What a Pocket TTS model says about itself beyond its towers: the blob `pocket` (docs/pocket.md).
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "format/model_file.h"
#include "lm/layer_chain.h"

namespace pocketuni {

/// How noise becomes a latent: docs/pocket.md, Sampling.
enum class FlowKind { kLsd, kFlowMatching, kDrifting, kPointwise };

using ModelIdentity = std::array<uint8_t, 16>;

struct PocketSettings {
  ModelIdentity model{};  ///< tells the states of this language model from those of others
  FlowKind flow = FlowKind::kLsd;
  int64_t rate_hz = 0, frame_samples = 0, frame_rows = 0;
  double temperature = 0, eos_threshold = 0;
  ChainSettings lm, decoder, encoder;
};

/// How text is changed before it is read: docs/pocket.md, Text.
struct TextRules {
  bool pad_with_spaces = false, remove_semicolons = false, end_with_punctuation = true, capitalize = true;
  std::map<char32_t, std::u32string> replace;
  int64_t frames_after_eos = -1;  ///< -1: as many as a chunk's length asks for
};

/// Whether the file holds such a model.
bool is_pocket(const ModelFile& file);
/// Opens any model. The language model of one of these is read, not mapped: each of its steps takes all of its weights,
/// for one row, and no cache holds them.
std::shared_ptr<const Model> open_model(const std::string& path);
/// Throws Error(kInvalidArgument) when there is none, Error(kFormat) naming the line that is wrong or missing.
PocketSettings read_pocket_settings(const ModelFile& file);
/// Throws as read_pocket_settings does.
TextRules read_text_rules(const ModelFile& file);
/// A blob of `count` little-endian floats. Throws Error(kFormat) when it is missing, has another size, or holds numbers
/// that are not finite; with `optional`, a missing one is empty.
std::vector<float> read_floats(const ModelFile& file, const std::string& name, size_t count, bool optional);
/// Null when there is none of that name.
const Blob* find_blob(const ModelFile& file, const std::string& name);

}  // namespace pocketuni
