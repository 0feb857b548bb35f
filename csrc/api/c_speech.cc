// The speech part of the C interface over SpeechStream.
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "api/c_errors.h"
#include "api/pocketuni.h"
#include "speech/audio_frames.h"
#include "speech/speech_stream.h"
#include "speech/voices.h"

using pocketuni::fail_argument;
using pocketuni::guarded;
using pocketuni::require;

struct pu_speech {
  pocketuni::SpeechStream stream;
  const pocketuni::SpeechChunk* chunk = nullptr;

  pu_speech(std::shared_ptr<const pocketuni::Model> model, const pocketuni::SpeechOptions& options)
      : stream(std::move(model), options) {}
};

namespace {

pocketuni::SpeechOptions options_of(const pu_speech_options& from, const pocketuni::ModelFile& file) {
  if (from.struct_size != sizeof from) {
    fail_argument("pu_speech_start: options.struct_size is " + std::to_string(from.struct_size) + ", expected " +
                  std::to_string(sizeof from) + "; fill the options with pu_speech_defaults first");
  }
  pocketuni::SpeechOptions options;
  if (from.voice != nullptr) options.voice = from.voice;
  if (from.voice_vector != nullptr) {
    options.vector.assign(from.voice_vector, from.voice_vector + pocketuni::kSpeakerWidth);
  }
  if (from.own_voice != nullptr) {
    require_space(from.own_voice->voice, file);
    options.vector = from.own_voice->voice.vector;
    options.log_f0 = from.own_voice->voice.log_f0;
  }
  options.speed = from.speed;
  options.semitones = from.pitch;
  options.volume = from.volume;
  options.seed = from.seed;
  options.threads = from.threads;
  options.isa = from.isa;
  options.chunk_frames = from.chunk_frames;
  return options;
}

const std::string kVoicePrefix = "voice/";

}  // namespace

size_t pu_model_voice_count(const pu_model* model) {
  size_t count = 0;
  while (pu_model_voice_name(model, count) != nullptr) ++count;
  return count;
}

const char* pu_model_voice_name(const pu_model* model, size_t index) {
  if (model == nullptr) return nullptr;
  for (const pocketuni::Blob& blob : model->model->file().blobs()) {
    if (blob.name.compare(0, kVoicePrefix.size(), kVoicePrefix) != 0) continue;
    if (index-- == 0) return blob.name.c_str() + kVoicePrefix.size();
  }
  return nullptr;
}

void pu_speech_defaults(pu_speech_options* options) {
  if (options == nullptr) return;
  const pocketuni::SpeechOptions defaults;
  *options = {};
  options->struct_size = sizeof *options;
  options->speed = defaults.speed;
  options->pitch = defaults.semitones;
  options->volume = defaults.volume;
}

pu_status pu_speech_start(const pu_model* model, const pu_speech_options* options, pu_speech** speech) {
  return guarded([&] {
    require(model, "pu_speech_start", "model");
    require(speech, "pu_speech_start", "speech");
    *speech = nullptr;
    *speech = new pu_speech(
        model->model, options == nullptr ? pocketuni::SpeechOptions() : options_of(*options, model->model->file()));
  });
}

pu_status pu_speech_push_text(pu_speech* speech, const char* text, size_t bytes) {
  return guarded([&] {
    require(speech, "pu_speech_push_text", "speech");
    if (bytes > 0) require(text, "pu_speech_push_text", "text");
    if (bytes > 0) speech->stream.push({text, bytes});
  });
}

pu_status pu_speech_finish_text(pu_speech* speech) {
  return guarded([&] {
    require(speech, "pu_speech_finish_text", "speech");
    speech->stream.finish();
  });
}

pu_status pu_speech_next(pu_speech* speech, const float** samples, size_t* count) {
  return guarded([&] {
    require(speech, "pu_speech_next", "speech");
    require(samples, "pu_speech_next", "samples");
    require(count, "pu_speech_next", "count");
    *samples = nullptr;
    *count = 0;
    speech->chunk = nullptr;  // a call that fails leaves none
    speech->chunk = speech->stream.next();
    if (speech->chunk == nullptr) return;
    *samples = speech->chunk->samples.data();
    *count = speech->chunk->samples.size();
  });
}

size_t pu_speech_word_count(const pu_speech* speech) {
  return speech == nullptr || speech->chunk == nullptr ? 0 : speech->chunk->words.size();
}

pu_status pu_speech_word(const pu_speech* speech, size_t index, pu_word* word) {
  return guarded([&] {
    require(speech, "pu_speech_word", "speech");
    require(word, "pu_speech_word", "word");
    if (index >= pu_speech_word_count(speech)) {
      fail_argument("pu_speech_word: index " + std::to_string(index) + ", but the last chunk has " +
                    std::to_string(pu_speech_word_count(speech)) + " words");
    }
    const pocketuni::SpokenWord& from = speech->chunk->words[index];
    const double rate = pocketuni::kRateHz;
    *word = {from.text.c_str(), from.begin, from.end, static_cast<double>(from.start) / rate,
             static_cast<double>(from.stop) / rate};
  });
}

int32_t pu_speech_rate(const pu_speech*) { return pocketuni::kRateHz; }

void pu_speech_cancel(pu_speech* speech) {
  if (speech != nullptr) speech->stream.cancel();
}

void pu_speech_free(pu_speech* speech) { delete speech; }
