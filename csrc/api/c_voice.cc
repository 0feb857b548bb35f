// The part of the C interface on voices over VoiceBuilder and, for Pocket TTS models, make_voice_state.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/c_errors.h"
#include "api/pocketuni.h"
#include "lm/voice_prompt.h"
#include "speech/voice_builder.h"
#include "speech/voice_file.h"

using pocketuni::guarded;
using pocketuni::require;

namespace {

constexpr size_t kMostStateBytes = size_t{1} << 30;
constexpr double kMostPromptSeconds = 60;

/// A recording for a Pocket TTS model, which reads it as a whole.
struct Prompt {
  std::shared_ptr<const pocketuni::Model> model;
  int32_t rate_hz;
  int threads;
  std::string isa;
  std::vector<float> samples;
  pocketuni::LevelMeter levels;

  void feed(const float* from, size_t count) {
    if (!std::all_of(from, from + count, [](float x) { return std::isfinite(x); })) {
      pocketuni::fail_argument("the recording holds samples that are not finite");
    }
    const auto most = static_cast<size_t>(kMostPromptSeconds * rate_hz);
    if (samples.size() + count > most) pocketuni::fail_argument("the recording lasts more than 60 s");
    samples.insert(samples.end(), from, from + count);
    levels.push(from, count);
  }

  /// All of it counts as speech: nothing here tells where there is some.
  pocketuni::RecordingFacts facts() const {
    pocketuni::RecordingFacts facts;
    facts.rate_hz = rate_hz;
    facts.heard_seconds = facts.speech_seconds = levels.seconds();
    facts.loud_db = levels.loud_db();
    facts.clipped_share = levels.clipped_share();
    return facts;
  }
};

std::shared_ptr<const pocketuni::VoiceState> kept(pocketuni::VoiceState state) {
  return std::make_shared<const pocketuni::VoiceState>(std::move(state));
}

bool is_state(const unsigned char* data, size_t size) { return size >= 4 && std::memcmp(data, "PUVS", 4) == 0; }

/// A voice of either kind from the bytes of a file.
std::unique_ptr<pu_voice> voice_of(const unsigned char* data, size_t size, const std::string& where) {
  auto voice = std::make_unique<pu_voice>();
  if (is_state(data, size)) {
    voice->state = kept(pocketuni::VoiceState::parse(data, size));
  } else {
    voice->voice = pocketuni::decode_voice(data, size, where);
  }
  return voice;
}

std::vector<unsigned char> bytes_of(const pu_voice& voice) {
  if (voice.state == nullptr) return encode_voice(voice.voice);
  const std::string bytes = voice.state->bytes();
  return {bytes.begin(), bytes.end()};
}

/// What vectors are needed for; states have none.
void require_vector(const pu_voice* voice) {
  if (voice->state != nullptr) pocketuni::fail_argument("voices of Pocket TTS models cannot be compared or mixed");
}

}  // namespace

struct pu_voice_builder {
  std::unique_ptr<pocketuni::VoiceBuilder> builder;
  std::unique_ptr<Prompt> prompt;  // instead, for a Pocket TTS model
  std::vector<float> samples;      // of integers
  std::string advice;

  void feed(const float* from, size_t count) {
    prompt != nullptr ? prompt->feed(from, count) : builder->feed(from, count);
  }
};

pu_status pu_voice_named(const pu_model* model, const char* name, pu_voice** voice) {
  return guarded([&] {
    require(model, "pu_voice_named", "model");
    require(voice, "pu_voice_named", "voice");
    *voice = nullptr;
    const pocketuni::ModelFile& file = model->model->file();
    const std::string wanted = name == nullptr ? "" : name;
    auto made = std::make_unique<pu_voice>();
    if (is_pocket(file)) {
      made->state = kept(pocketuni::stored_state(file, wanted));
      made->voice.name = pocketuni::checked_voice_name(wanted);
    } else {
      made->voice = named_voice(file, wanted);
    }
    *voice = made.release();
  });
}

pu_status pu_voice_load(const char* path, pu_voice** voice) {
  return guarded([&] {
    require(path, "pu_voice_load", "path");
    require(voice, "pu_voice_load", "voice");
    *voice = nullptr;
    const std::vector<unsigned char> data = pocketuni::read_voice_file(path, kMostStateBytes);
    *voice = voice_of(data.data(), data.size(), path).release();
  });
}

pu_status pu_voice_load_memory(const void* data, size_t size, pu_voice** voice) {
  return guarded([&] {
    require(data, "pu_voice_load_memory", "data");
    require(voice, "pu_voice_load_memory", "voice");
    *voice = nullptr;
    *voice = voice_of(static_cast<const unsigned char*>(data), size, "<memory>").release();
  });
}

pu_status pu_voice_save(const pu_voice* voice, const char* path) {
  return guarded([&] {
    require(voice, "pu_voice_save", "voice");
    require(path, "pu_voice_save", "path");
    pocketuni::write_voice_file(bytes_of(*voice), path);
  });
}

pu_status pu_voice_bytes(pu_voice* voice, const void** data, size_t* size) {
  return guarded([&] {
    require(voice, "pu_voice_bytes", "voice");
    require(data, "pu_voice_bytes", "data");
    require(size, "pu_voice_bytes", "size");
    voice->bytes = bytes_of(*voice);
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
    info->vector = voice->state != nullptr ? nullptr : from.vector.data();
  });
}

pu_status pu_voice_similarity(const pu_voice* a, const pu_voice* b, double* similarity) {
  return guarded([&] {
    require(a, "pu_voice_similarity", "a");
    require(b, "pu_voice_similarity", "b");
    require(similarity, "pu_voice_similarity", "similarity");
    require_vector(a);
    require_vector(b);
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
      require_vector(voices[i]);
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
    auto made = std::make_unique<pu_voice_builder>();
    if (is_pocket(model->model->file())) {
      pocketuni::check_prompts(model->model, rate_hz);
      made->prompt.reset(new Prompt{
          model->model, rate_hz, options.threads, isa == nullptr ? "" : isa, {}, pocketuni::LevelMeter(rate_hz)});
    } else {
      made->builder = std::make_unique<pocketuni::VoiceBuilder>(model->model, rate_hz, options);
    }
    *builder = made.release();
  });
}

pu_status pu_voice_builder_feed(pu_voice_builder* builder, const float* samples, size_t count) {
  return guarded([&] {
    require(builder, "pu_voice_builder_feed", "builder");
    if (count == 0) return;
    require(samples, "pu_voice_builder_feed", "samples");
    builder->feed(samples, count);
  });
}

pu_status pu_voice_builder_feed_int16(pu_voice_builder* builder, const int16_t* samples, size_t count) {
  return guarded([&] {
    require(builder, "pu_voice_builder_feed_int16", "builder");
    if (count == 0) return;
    require(samples, "pu_voice_builder_feed_int16", "samples");
    builder->samples.resize(count);
    for (size_t i = 0; i < count; ++i) builder->samples[i] = static_cast<float>(samples[i]) / 32768;
    builder->feed(builder->samples.data(), count);
  });
}

pu_status pu_voice_builder_voice(pu_voice_builder* builder, pu_voice** voice) {
  return guarded([&] {
    require(builder, "pu_voice_builder_voice", "builder");
    require(voice, "pu_voice_builder_voice", "voice");
    *voice = nullptr;
    auto made = std::make_unique<pu_voice>();
    if (builder->prompt != nullptr) {
      const Prompt& prompt = *builder->prompt;
      const pocketuni::SessionOptions options{prompt.threads, prompt.isa.empty() ? nullptr : prompt.isa.c_str()};
      made->state = kept(make_voice_state(prompt.model, prompt.samples, prompt.rate_hz, options));
      made->voice.clone = true;
      made->voice.seconds = prompt.levels.seconds();
    } else {
      made->voice = builder->builder->voice();
    }
    *voice = made.release();
  });
}

double pu_voice_builder_seconds(const pu_voice_builder* builder) {
  if (builder == nullptr) return 0;
  return builder->prompt != nullptr ? builder->prompt->levels.seconds() : builder->builder->seconds();
}

double pu_voice_builder_heard_seconds(const pu_voice_builder* builder) {
  if (builder == nullptr) return 0;
  return builder->prompt != nullptr ? builder->prompt->levels.seconds() : builder->builder->heard_seconds();
}

double pu_voice_builder_confidence(const pu_voice_builder* builder) {
  if (builder == nullptr) return 0;
  return builder->prompt != nullptr ? recording_confidence(builder->prompt->facts()) : builder->builder->confidence();
}

pu_status pu_voice_builder_level(const pu_voice_builder* builder, double* rms_db, double* peak_db) {
  return guarded([&] {
    require(builder, "pu_voice_builder_level", "builder");
    const pocketuni::Level level =
        builder->prompt != nullptr ? builder->prompt->levels.recent() : builder->builder->level();
    if (rms_db != nullptr) *rms_db = level.rms_db;
    if (peak_db != nullptr) *peak_db = level.peak_db;
  });
}

pu_status pu_voice_builder_advice(pu_voice_builder* builder, const char** text) {
  return guarded([&] {
    require(builder, "pu_voice_builder_advice", "builder");
    require(text, "pu_voice_builder_advice", "text");
    builder->advice.clear();
    const std::vector<std::string> sentences =
        builder->prompt != nullptr ? recording_advice(builder->prompt->facts()) : builder->builder->advice();
    for (const std::string& sentence : sentences) {
      builder->advice += (builder->advice.empty() ? "" : "\n") + sentence;
    }
    *text = builder->advice.c_str();
  });
}

void pu_voice_builder_free(pu_voice_builder* builder) { delete builder; }
