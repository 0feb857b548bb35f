// A voice: a speaker vector and what is known about where it came from.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/blake2b.h"
#include "graph/session.h"

namespace pocketuni {

constexpr size_t kMaxVoiceName = 255;  ///< bytes of UTF-8

struct Voice {
  std::vector<float> vector;  ///< kSpeakerWidth floats of unit length
  Digest space{};             ///< voice_space of the models that can speak it
  double seconds = 0;         ///< of speech that it was made from
  double confidence = 1;      ///< 0 .. 1: see docs/voice.md, Voices from recordings
  double log_f0 = 0;          ///< natural logarithm of the speaker's median F0 in Hz; 0: not known
  bool clone = false;         ///< made from a recording
  std::string name;           ///< at most kMaxVoiceName bytes
};

/// The name itself; throws Error(kInvalidArgument) for one that is longer than kMaxVoiceName or holds a NUL.
std::string checked_voice_name(const std::string& name);

/// What ties voices to models: the blob `voice_space`, where the exporter wrote one; else a hash of the weights of
/// voice.speaker_head, or of voice.encoder and voice.decoder where there is no such tower.
Digest voice_space(const ModelFile& file);

/// A voice stored in the model; "" means the first. Throws what stored_voice throws.
Voice named_voice(const ModelFile& file, const std::string& name);

/// Throws Error(kInvalidArgument) when the model cannot speak the voice.
void require_space(const Voice& voice, const ModelFile& file);

/// Cosine of the two vectors, -1 .. 1. Throws Error(kInvalidArgument) for voices of different spaces.
double voice_similarity(const Voice& a, const Voice& b);

/// The voice between some: vectors weighted and brought to unit length, the logarithm of F0 weighted (where all have
/// one), seconds added, the least confidence. Weights count relative to their sum. Throws Error(kInvalidArgument) for
/// no voices, weights that are negative, not finite or all 0, voices of different spaces, and voices that cancel out.
Voice mix_voices(const std::vector<std::pair<double, const Voice*>>& parts);

}  // namespace pocketuni
