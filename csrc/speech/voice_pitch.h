// How high the model speaks with a speaker vector, and what is missing to how high the speaker does.
#pragma once
#include <vector>

#include "speech/voice_chain.h"
#include "speech/voice_towers.h"

namespace pocketuni {

/// What to add to the logarithm of F0 so that this voice is as high as its speaker; at most a fifth up or down. The
/// model is measured over the voiced units of one sentence (a few milliseconds of work, no vocoder). `log_f0`: of the
/// speaker; 0 gives 0. Ends the utterance that the chain is in. Throws what the towers throw.
double missing_pitch(VoiceEncoder* encoder, VoiceChain* chain, const std::vector<float>& speaker, double log_f0);

}  // namespace pocketuni
