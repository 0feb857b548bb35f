// The speech part of the C interface over SpeechStream and PocketStream.
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "api/c_errors.h"
#include "api/pocketuni.h"
#include "lm/pocket_stream.h"
#include "lm/voice_prompt.h"
#include "speech/audio_frames.h"
#include "speech/speech_stream.h"
#include "speech/voices.h"

using pocketuni::fail_argument;
using pocketuni::guarded;
using pocketuni::require;

struct pu_speech {
  std::unique_ptr<pocketuni::SpeechStream> stream;
  std::unique_ptr<pocketuni::PocketStream> pocket;  // instead, of a model that is one
  const pocketuni::SpeechChunk* chunk = nullptr;
};

namespace {

void check_size(const pu_speech_options& from) {
  if (from.struct_size != sizeof from) {
    fail_argument("pu_speech_start: options.struct_size is " + std::to_string(from.struct_size) + ", expected " +
                  std::to_string(sizeof from) + "; fill the options with pu_speech_defaults first");
  }
}

pocketuni::SpeechOptions options_of(const pu_speech_options& from, const pocketuni::ModelFile& file) {
  pocketuni::SpeechOptions options;
  if (from.voice != nullptr) options.voice = from.voice;
  if (from.voice_vector != nullptr) {
    options.vector.assign(from.voice_vector, from.voice_vector + pocketuni::kSpeakerWidth);
  }
  if (from.own_voice != nullptr && from.own_voice->state != nullptr) {
    fail_argument("own_voice is one of a Pocket TTS model; make the voice anew with this model");
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

constexpr size_t kLatentFrames = 8;  // a latent lasts about as long as so many frames of 256 samples

std::unique_ptr<pocketuni::PocketStream> start_pocket(const std::shared_ptr<const pocketuni::Model>& model,
                                                      const pu_speech_options& from) {
  if (from.speed != 1 || from.pitch != 0) {
    fail_argument("speed is " + std::to_string(from.speed) + " and pitch " + std::to_string(from.pitch) +
                  ", but Pocket TTS models speak as their voice does; leave them 1 and 0");
  }
  if (from.voice_vector != nullptr || (from.own_voice != nullptr && from.own_voice->state == nullptr)) {
    fail_argument("the voice is not one of a Pocket TTS model; make it anew with this model");
  }
  const pocketuni::ModelFile& file = model->file();
  pocketuni::StreamOptions options;
  static_cast<pocketuni::PocketOptions&>(options) = recommended_options(read_pocket_settings(file));
  options.volume = from.volume;
  options.seed = from.seed;
  options.threads = from.threads;
  options.isa = from.isa;
  options.chunk_frames = (from.chunk_frames + kLatentFrames - 1) / kLatentFrames;
  if (from.own_voice != nullptr) {
    return std::make_unique<pocketuni::PocketStream>(model, options, from.own_voice->state.get());
  }
  const bool none = from.voice == nullptr && stored_state_names(file).empty();
  if (none) return std::make_unique<pocketuni::PocketStream>(model, options, nullptr);
  const pocketuni::VoiceState voice = pocketuni::stored_state(file, from.voice == nullptr ? "" : from.voice);
  return std::make_unique<pocketuni::PocketStream>(model, options, &voice);
}

const std::string kVoicePrefix = "voice/", kPocketPrefix = "pocket.voice/";

}  // namespace

size_t pu_model_voice_count(const pu_model* model) {
  size_t count = 0;
  while (pu_model_voice_name(model, count) != nullptr) ++count;
  return count;
}

const char* pu_model_voice_name(const pu_model* model, size_t index) {
  if (model == nullptr) return nullptr;
  const pocketuni::ModelFile& file = model->model->file();
  const std::string& prefix = is_pocket(file) ? kPocketPrefix : kVoicePrefix;
  for (const pocketuni::Blob& blob : file.blobs()) {
    if (blob.name.compare(0, prefix.size(), prefix) != 0) continue;
    if (index-- == 0) return blob.name.c_str() + prefix.size();
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
    pu_speech_options defaults;
    pu_speech_defaults(&defaults);
    const pu_speech_options& given = options == nullptr ? defaults : *options;
    check_size(given);
    auto made = std::make_unique<pu_speech>();
    const pocketuni::ModelFile& file = model->model->file();
    if (is_pocket(file)) {
      made->pocket = start_pocket(model->model, given);
    } else {
      made->stream = std::make_unique<pocketuni::SpeechStream>(model->model, options_of(given, file));
    }
    *speech = made.release();
  });
}

pu_status pu_speech_push_text(pu_speech* speech, const char* text, size_t bytes) {
  return guarded([&] {
    require(speech, "pu_speech_push_text", "speech");
    if (bytes > 0) require(text, "pu_speech_push_text", "text");
    if (bytes == 0) return;
    speech->pocket != nullptr ? speech->pocket->push({text, bytes}) : speech->stream->push({text, bytes});
  });
}

pu_status pu_speech_finish_text(pu_speech* speech) {
  return guarded([&] {
    require(speech, "pu_speech_finish_text", "speech");
    speech->pocket != nullptr ? speech->pocket->finish() : speech->stream->finish();
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
    if (speech->pocket != nullptr) {
      const std::vector<float>* made = speech->pocket->next();
      if (made == nullptr) return;
      *samples = made->data();
      *count = made->size();
      return;
    }
    speech->chunk = speech->stream->next();
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

int32_t pu_speech_rate(const pu_speech* speech) {
  if (speech == nullptr || speech->pocket == nullptr) return pocketuni::kRateHz;
  return static_cast<int32_t>(speech->pocket->rate_hz());
}

void pu_speech_cancel(pu_speech* speech) {
  if (speech == nullptr) return;
  speech->pocket != nullptr ? speech->pocket->cancel() : speech->stream->cancel();
}

void pu_speech_free(pu_speech* speech) { delete speech; }
