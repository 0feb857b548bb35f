#include "speech/voice_builder.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "speech/audio_frames.h"
#include "speech/voice_towers.h"
#include "speech/voices.h"

namespace pocketuni {
namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
constexpr double kSecondsPerFrame = static_cast<double>(kHopSamples) / kRateHz;
// Samples beyond this are no overdriven recording but integers passed as floats.
constexpr float kFarBeyond = 64;

int64_t checked_rate(int64_t rate_hz) {
  if (rate_hz >= kLeastInputHz && rate_hz <= kMostInputHz) return rate_hz;
  fail_argument("rate_hz is " + std::to_string(rate_hz) + ", expected " + std::to_string(kLeastInputHz) + " to " +
                std::to_string(kMostInputHz) + " samples a second");
}

std::shared_ptr<const Model> cloning(std::shared_ptr<const Model> model) {
  const ModelFile& file = model->file();
  for (const char* name : {"voice.speaker", "voice.activity", "voice.speaker_head"}) {
    const bool there = std::any_of(file.towers().begin(), file.towers().end(),
                                   [&](const TowerSpec& tower) { return tower.name == name; });
    if (!there) {
      fail_argument(file.path() + " cannot make voices: it lacks the tower " + name +
                    "; open a voice model with a speaker encoder");
    }
  }
  return model;
}

/// Checks a tower over mel frames, and gives the width of its rows.
size_t check_tower(const StreamSession& tower, const Port& result) {
  const TowerSpec& spec = tower.spec();
  find_ports(spec, spec.inputs, "input", {{"mel", DType::kF32, {1, -1, static_cast<int64_t>(kMels)}}}, true);
  find_ports(spec, spec.outputs, "output", {result}, true);
  const std::vector<Dim>& dims = spec.values[spec.outputs[0]].dims;
  if (dims.size() < 3) return 1;
  if (dims[2] <= 0) fail_argument("tower '" + spec.name + "': the width of '" + result.name + "' is not a constant");
  return static_cast<size_t>(dims[2]);
}

/// Appends the rows that are ready.
void pull_rows(StreamSession* tower, const Tensor& mel, std::vector<float>* rows) {
  tower->push({mel});
  if (tower->rows_ready() == 0) return;
  const Tensor& made = tower->pull(kAll)[0];
  rows->insert(rows->end(), made.f32(), made.f32() + element_count(made.type.shape));
}

template <typename T>
void drop_front(std::vector<T>* values, size_t count) {
  values->erase(values->begin(), values->begin() + static_cast<ptrdiff_t>(count));
}

}  // namespace

VoiceBuilder::VoiceBuilder(std::shared_ptr<const Model> model, int64_t rate_hz, const SessionOptions& options)
    : model_(cloning(std::move(model))),
      rate_hz_(checked_rate(rate_hz)),
      levels_(rate_hz),
      resampler_(rate_hz, kRateHz),
      mel_frames_(options),
      activity_(model_, "voice.activity", options),
      speaker_(model_, "voice.speaker", options),
      width_(check_tower(speaker_, {"features", DType::kF32, {1, -1, -1}})),
      pool_(model_, options, width_) {
  check_tower(activity_, {"speech", DType::kF32, {1, -1}});
}

void VoiceBuilder::feed(const float* samples, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (std::fabs(samples[i]) <= kFarBeyond) continue;  // false for NaN
    const std::string place = "sample " + std::to_string(i) + " of " + std::to_string(count) + " is ";
    if (!std::isfinite(samples[i])) fail_argument(place + "not a finite number");
    fail_argument(place + std::to_string(samples[i]) + ", but floats have full scale 1: divide them by that of the " +
                  "recording, or pass integers");
  }
  const auto block = static_cast<size_t>(rate_hz_);  // a second at a time: memory does not grow with `count`
  for (size_t at = 0; at < count; at += block) take_block(samples + at, std::min(block, count - at));
}

void VoiceBuilder::take_block(const float* samples, size_t count) {
  levels_.push(samples, count);
  samples_.clear();
  resampler_.push(samples, count, &samples_);
  pitch_frames_.push(samples_.data(), samples_.size(), &pitches_);
  new_mel_.clear();
  mel_frames_.push(samples_.data(), samples_.size(), &new_mel_);
  const size_t frames = new_mel_.size() / kMels;
  if (frames > 0) {
    mel_.insert(mel_.end(), new_mel_.begin(), new_mel_.end());
    const Tensor mel = rows_view(new_mel_, frames, kMels);
    pull_rows(&activity_, mel, &scores_);
    pull_rows(&speaker_, mel, &features_);
  }
  take_frames();
}

/// Judges the frames of which everything is there.
void VoiceBuilder::take_frames() {
  const size_t mel_rows = mel_.size() / kMels;
  if (scores_.size() > mel_rows || features_.size() / width_ > mel_rows) {
    fail_format("a tower gives more frames than it gets; the model is bad");
  }
  size_t ready = std::min(scores_.size(), features_.size() / width_);
  const size_t odd = frame_ % 2;  // pitches_[0] is that of frame_, or of frame_ - 1
  ready = std::min(ready, 2 * pitches_.size() - std::min(odd, 2 * pitches_.size()));
  for (size_t i = 0; i < ready; ++i) {
    const bool speech = scores_[i] > 0;
    frame_levels_.add(mel_.data() + i * kMels, speech);
    if (!speech) continue;
    pool_.add(features_.data() + i * width_);
    if ((frame_ + i) % 2 == 0) pitch_.add(pitches_[(odd + i) / 2]);
  }
  drop_front(&mel_, ready * kMels);
  drop_front(&scores_, ready);
  drop_front(&features_, ready * width_);
  drop_front(&pitches_, (odd + ready) / 2);
  frame_ += ready;
}

Voice VoiceBuilder::voice() {
  if (seconds() < kLeastSpeechSeconds) {
    std::string text = "there is too little speech for a voice.";
    for (const std::string& sentence : advice()) text += " " + sentence;
    fail_argument(text);
  }
  Voice voice;
  voice.vector = pool_.vector();
  voice.space = voice_space(model_->file());
  voice.seconds = seconds();
  voice.confidence = confidence();
  voice.log_f0 = pitch_.log_f0();
  voice.clone = true;
  return voice;
}

double VoiceBuilder::seconds() const { return static_cast<double>(pool_.frames()) * kSecondsPerFrame; }

RecordingFacts VoiceBuilder::facts() const {
  RecordingFacts facts;
  facts.rate_hz = rate_hz_;
  facts.heard_seconds = heard_seconds();
  facts.speech_seconds = seconds();
  facts.loud_db = levels_.loud_db();
  facts.clipped_share = levels_.clipped_share();
  facts.speech_to_noise_db = frame_levels_.speech_to_noise_db();
  facts.other_speaker_share = pool_.other_speaker_share();
  return facts;
}

}  // namespace pocketuni
