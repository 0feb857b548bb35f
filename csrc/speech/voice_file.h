// Voices in files of less than 2 kB: docs/voice.md, The `.voice` file.
#pragma once
#include <string>
#include <vector>

#include "speech/voice.h"

namespace pocketuni {

std::vector<unsigned char> encode_voice(const Voice& voice);

/// The voice in these bytes; `where` begins the messages. Throws Error(kFormat) for what is no voice file, is of a
/// newer major version, or is damaged. Whether a model can speak it: require_space.
Voice decode_voice(const unsigned char* data, size_t size, const std::string& where);

/// Writes a file that appears whole or not at all. Throws Error(kIo).
void save_voice(const Voice& voice, const std::string& path);
/// Throws Error(kIo), and what decode_voice throws.
Voice load_voice(const std::string& path);

/// The same for bytes of any kind of voice; the reader takes at most the first `most`. Both throw Error(kIo).
void write_voice_file(const std::vector<unsigned char>& bytes, const std::string& path);
std::vector<unsigned char> read_voice_file(const std::string& path, size_t most);

}  // namespace pocketuni
