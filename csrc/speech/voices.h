// Speaker vectors: those stored in a model, and anybody's.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "graph/session.h"

namespace pocketuni {

constexpr size_t kSpeakerWidth = 192;

/// Names of the voices of a model, in the order of its file (blobs `voice/NAME`). The first one speaks when none is
/// named.
std::vector<std::string> voice_names(const ModelFile& file);

/// A stored voice, 192 floats of unit length; "" means the first. Throws Error(kInvalidArgument) with the names there
/// are, Error(kFormat) for a blob that is no such vector.
std::vector<float> stored_voice(const ModelFile& file, const std::string& name);

/// A vector brought to unit length. Throws Error(kInvalidArgument) unless it is 192 finite floats, not all of them 0.
std::vector<float> unit_voice(std::vector<float> vector);

}  // namespace pocketuni
