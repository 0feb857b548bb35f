// From a recording to the state of a voice of Pocket TTS.
#pragma once
#include <memory>
#include <vector>

#include "graph/session.h"
#include "lm/voice_state.h"

namespace pocketuni {

/// Samples at another rate, through the windowed sinc that the package pocket-tts uses (10 zero crossings, Kaiser
/// window with beta 5); what lies beyond the ends counts as 0.
std::vector<float> resample_prompt(const std::vector<float>& samples, int64_t from_hz, int64_t to_hz);

/// Cuts trailing silence, fades what is left out, and appends a short pause: a prompt that ends within a word makes the
/// model finish that word first, one that ends in a long silence makes it hesitate.
std::vector<float> end_in_pause(std::vector<float> samples, int64_t rate_hz);

/// Throws Error(kInvalidArgument) for a rate outside 8000 to 192000 Hz and a model that cannot clone.
void check_prompts(const std::shared_ptr<const Model>& model, int64_t rate_hz);

/// A voice from 0.5 to 60 s of somebody's speech at 8000 to 192000 Hz. Throws Error(kInvalidArgument) for other lengths
/// and rates, silence, samples that are not finite, and a model that cannot clone.
VoiceState make_voice_state(const std::shared_ptr<const Model>& model, const std::vector<float>& samples,
                            int64_t rate_hz, const SessionOptions& options);

/// A voice that the model stores, `pocket.voice/NAME`; "" for the first. Throws Error(kInvalidArgument) with the names
/// there are.
VoiceState stored_state(const ModelFile& file, const std::string& name);
std::vector<std::string> stored_state_names(const ModelFile& file);

}  // namespace pocketuni
