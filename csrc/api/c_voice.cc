// The part of the C interface on voices over VoiceBuilder.
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/c_errors.h"
#include "api/pocketuni.h"
#include "speech/voice_builder.h"
#include "speech/voice_file.h"

using pocketuni::guarded;
using pocketuni::require;

struct pu_voice_builder {
  pocketuni::VoiceBuilder builder;
  std::vector<float> samples;  // of integers
  std::string advice;

  pu_voice_builder(std::shared_ptr<const pocketuni::Model> model, int32_t rate_hz,
                   const pocketuni::SessionOptions& options)
      : builder(std::move(model), rate_hz, options) {}
};

pu_status pu_voice_named(const pu_model* model, const char* name, pu_voice** voice) {
  return guarded([&] {
    require(model, "pu_voice_named", "model");
    require(voice, "pu_voice_named", "voice");
    *voice = nullptr;
    *voice = new pu_voice{named_voice(model->model->file(), name == nullptr ? "" : name), {}};
  });
}

pu_status pu_voice_load(const char* path, pu_voice** voice) {
  return guarded([&] {
    require(path, "pu_voice_load", "path");
    require(voice, "pu_voice_load", "voice");
    *voice = nullptr;
    *voice = new pu_voice{pocketuni::load_voice(path), {}};
  });
}

pu_status pu_voice_load_memory(const void* data, size_t size, pu_voice** voice) {
  return guarded([&] {
    require(data, "pu_voice_load_memory", "data");
    require(voice, "pu_voice_load_memory", "voice");
    *voice = nullptr;
    *voice = new pu_voice{pocketuni::decode_voice(static_cast<const unsigned char*>(data), size, "<memory>"), {}};
  });
}

pu_status pu_voice_save(const pu_voice* voice, const char* path) {
  return guarded([&] {
    require(voice, "pu_voice_save", "voice");
    require(path, "pu_voice_save", "path");
    save_voice(voice->voice, path);
  });
}

pu_status pu_voice_bytes(pu_voice* voice, const void** data, size_t* size) {
  return guarded([&] {
    require(voice, "pu_voice_bytes", "voice");
    require(data, "pu_voice_bytes", "data");
    require(size, "pu_voice_bytes", "size");
    voice->bytes = encode_voice(voice->voice);
    *data = voice->bytes.data();
    *size = voice->bytes.size();
  });
}

pu_status pu_voice_set_name(pu_voice* voice, const char* name) {
  return guarded([&] {
    require(voice, "pu_voice_set_name", "voice");
    require(name, "pu_voice_set_name", "name");
    voice->voice.name = pocketuni::checked_voice_name(name);
  });
}

pu_status pu_voice_get_info(const pu_voice* voice, pu_voice_info* info) {
  return guarded([&] {
    require(voice, "pu_voice_get_info", "voice");
    require(info, "pu_voice_get_info", "info");
    const pocketuni::Voice& from = voice->voice;
    *info = {};
    info->name = from.name.c_str();
    info->seconds = from.seconds;
    info->confidence = from.confidence;
    info->pitch_hz = from.log_f0 == 0 ? 0 : std::exp(from.log_f0);
    info->is_clone = from.clone ? 1 : 0;
    info->vector = from.vector.data();
  });
}

pu_status pu_voice_similarity(const pu_voice* a, const pu_voice* b, double* similarity) {
  return guarded([&] {
    require(a, "pu_voice_similarity", "a");
    require(b, "pu_voice_similarity", "b");
    require(similarity, "pu_voice_similarity", "similarity");
    *similarity = voice_similarity(a->voice, b->voice);
  });
}

pu_status pu_voice_mix(const pu_voice* const* voices, const double* weights, size_t count, pu_voice** mix) {
  return guarded([&] {
    require(voices, "pu_voice_mix", "voices");
    require(weights, "pu_voice_mix", "weights");
    require(mix, "pu_voice_mix", "mix");
    *mix = nullptr;
    std::vector<std::pair<double, const pocketuni::Voice*>> parts;
    for (size_t i = 0; i < count; ++i) {
      require(voices[i], "pu_voice_mix", "a voice");
      parts.push_back({weights[i], &voices[i]->voice});
    }
    *mix = new pu_voice{pocketuni::mix_voices(parts), {}};
  });
}

void pu_voice_free(pu_voice* voice) { delete voice; }

pu_status pu_voice_builder_create(const pu_model* model, int32_t rate_hz, int32_t threads, const char* isa,
                                  pu_voice_builder** builder) {
  return guarded([&] {
    require(model, "pu_voice_builder_create", "model");
    require(builder, "pu_voice_builder_create", "builder");
    *builder = nullptr;
    pocketuni::SessionOptions options;
    options.threads = threads == 0 ? 1 : threads;
    options.isa = isa;
    *builder = new pu_voice_builder(model->model, rate_hz, options);
  });
}

pu_status pu_voice_builder_feed(pu_voice_builder* builder, const float* samples, size_t count) {
  return guarded([&] {
    require(builder, "pu_voice_builder_feed", "builder");
    if (count == 0) return;
    require(samples, "pu_voice_builder_feed", "samples");
    builder->builder.feed(samples, count);
  });
}

pu_status pu_voice_builder_feed_int16(pu_voice_builder* builder, const int16_t* samples, size_t count) {
  return guarded([&] {
    require(builder, "pu_voice_builder_feed_int16", "builder");
    if (count == 0) return;
    require(samples, "pu_voice_builder_feed_int16", "samples");
    builder->samples.resize(count);
    for (size_t i = 0; i < count; ++i) builder->samples[i] = static_cast<float>(samples[i]) / 32768;
    builder->builder.feed(builder->samples.data(), count);
  });
}

pu_status pu_voice_builder_voice(pu_voice_builder* builder, pu_voice** voice) {
  return guarded([&] {
    require(builder, "pu_voice_builder_voice", "builder");
    require(voice, "pu_voice_builder_voice", "voice");
    *voice = nullptr;
    *voice = new pu_voice{builder->builder.voice(), {}};
  });
}

double pu_voice_builder_seconds(const pu_voice_builder* builder) {
  return builder == nullptr ? 0 : builder->builder.seconds();
}

double pu_voice_builder_heard_seconds(const pu_voice_builder* builder) {
  return builder == nullptr ? 0 : builder->builder.heard_seconds();
}

double pu_voice_builder_confidence(const pu_voice_builder* builder) {
  return builder == nullptr ? 0 : builder->builder.confidence();
}

pu_status pu_voice_builder_level(const pu_voice_builder* builder, double* rms_db, double* peak_db) {
  return guarded([&] {
    require(builder, "pu_voice_builder_level", "builder");
    const pocketuni::Level level = builder->builder.level();
    if (rms_db != nullptr) *rms_db = level.rms_db;
    if (peak_db != nullptr) *peak_db = level.peak_db;
  });
}

pu_status pu_voice_builder_advice(pu_voice_builder* builder, const char** text) {
  return guarded([&] {
    require(builder, "pu_voice_builder_advice", "builder");
    require(text, "pu_voice_builder_advice", "text");
    builder->advice.clear();
    for (const std::string& sentence : builder->builder.advice()) {
      builder->advice += (builder->advice.empty() ? "" : "\n") + sentence;
    }
    *text = builder->advice.c_str();
  });
}

void pu_voice_builder_free(pu_voice_builder* builder) { delete builder; }
