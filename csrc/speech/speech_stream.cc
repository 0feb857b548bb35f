#include "speech/speech_stream.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "speech/audio_frames.h"
#include "speech/voice_pitch.h"
#include "speech/voices.h"

namespace pocketuni {
namespace {

constexpr double kParagraphGap = 0.35;  // seconds of silence before a paragraph, beyond those between sentences
// 93 ms of speech cost a few milliseconds; the last step costs least for each frame that is computed.
constexpr size_t kFirstChunk = 8, kLargestChunk = 64;
constexpr int kUsualThreads = 1;  // far faster than speech is heard, and two take half as much CPU time again
constexpr float kKnee = 0.95f;    // beyond it, samples are bent so that they stay below 1

/// Formats a number as in "0.25".
std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

void check_range(const char* name, double value, double least, double most) {
  if (value >= least && value <= most) return;  // false for NaN
  fail_argument(std::string(name) + " is " + number_text(value) + ", expected " + number_text(least) + " to " +
                number_text(most));
}

SpeechOptions checked(SpeechOptions options) {
  check_range("speed", options.speed, kMinSpeed, kMaxSpeed);
  check_range("pitch", options.semitones, -kMaxSemitones, kMaxSemitones);
  check_range("volume", options.volume, 0, kMaxVolume);
  check_range("chunk_frames", static_cast<double>(options.chunk_frames), 0, kMaxChunkFrames);
  check_range("threads", options.threads, 0, 64);
  if (options.threads == 0) options.threads = kUsualThreads;
  return options;
}

std::shared_ptr<const Model> speaking(std::shared_ptr<const Model> model) {
  require_voice_towers(model->file());
  return model;
}

SessionOptions session_options(const SpeechOptions& options) {
  SessionOptions session;
  session.threads = options.threads;
  session.isa = options.isa;
  return session;
}

}  // namespace

SpeechStream::SpeechStream(std::shared_ptr<const Model> model, const SpeechOptions& options)
    : options_(checked(options)),
      speaker_(options.vector.empty() ? stored_voice(speaking(model)->file(), options.voice)
                                      : unit_voice(options.vector)),
      front_end_(speaking(model)),
      encoder_(model, session_options(options_)),
      chain_(model, session_options(options_), encoder_.width()),
      growing_(kFirstChunk) {
  if (!options_.vector.empty()) missing_pitch_ = missing_pitch(&encoder_, &chain_, speaker_, options_.log_f0);
}

void SpeechStream::push(std::string_view text) { front_end_.push(text); }

void SpeechStream::finish() { front_end_.finish(); }

const SpeechChunk* SpeechStream::next() {
  chunk_.samples.clear();
  chunk_.words.clear();
  if (cancelled_) return nullptr;
  try {
    if (!speaking_ && !begin_utterance()) return nullptr;
    fill_chunk(chunk_size() * kHopSamples);
  } catch (...) {
    speaking_ = false;  // what is left of this sentence is lost; the next call goes on behind it
    words_.clear();
    throw;
  }
  if (cancelled_) return nullptr;
  shape_samples();
  take_words();
  return &chunk_;
}

/// Adds samples until there are `wanted`, or up to a frame more, or the utterance ends.
void SpeechStream::fill_chunk(size_t wanted) {
  while (chunk_.samples.size() < wanted && speaking_ && !cancelled_) {
    if (gap_left_ > 0) {
      take_gap(wanted - chunk_.samples.size());
      continue;
    }
    size_t most = (wanted - chunk_.samples.size() + kHopSamples - 1) / kHopSamples;
    const bool gap_ahead = next_gap_ < plan_.gaps().size();
    if (gap_ahead) most = std::min(most, plan_.gaps()[next_gap_].frame - frame_);
    frame_ += chain_.pull(most, &chunk_.samples);
    if (gap_ahead && frame_ == plan_.gaps()[next_gap_].frame) gap_left_ = plan_.gaps()[next_gap_++].samples;
    speaking_ = frame_ < plan_.frames();
  }
}

/// Takes the next sentence through front end and encoder; false when there is none yet.
bool SpeechStream::begin_utterance() {
  Utterance utterance;
  if (!front_end_.next(&utterance)) {
    growing_ = kFirstChunk;  // whoever waits for text waits for the first samples after it, too
    return false;
  }
  gap_left_ = 0;
  if (utterance.paragraph_start && returned_ > 0) gap_left_ = std::llround(kParagraphGap * kRateHz / options_.speed);
  plan_.plan(utterance, encoder_.run(utterance, speaker_), options_.speed);
  chain_.start(plan_, speaker_, options_.seed * 0x9e3779b9U, missing_pitch_ + options_.semitones * std::log(2.0) / 12);
  for (Utterance::Word& word : utterance.words) {
    const size_t end = plan_.start_of(word.first_unit + word.units);
    const int64_t start = returned_ + gap_left_ + plan_.samples_before(plan_.start_of(word.first_unit));
    const int64_t stop = returned_ + gap_left_ + plan_.samples_before(end);
    words_.push_back({std::move(word.text), word.begin, word.end, start, stop});
  }
  speaking_ = true;
  frame_ = next_gap_ = 0;
  return true;
}

size_t SpeechStream::chunk_size() {
  if (options_.chunk_frames > 0) return options_.chunk_frames;
  const size_t frames = growing_;
  growing_ = std::min(2 * growing_, kLargestChunk);
  return frames;
}

void SpeechStream::take_gap(size_t most_samples) {
  const int64_t count = std::min(gap_left_, static_cast<int64_t>(most_samples));
  chunk_.samples.resize(chunk_.samples.size() + static_cast<size_t>(count), 0.0f);
  gap_left_ -= count;
}

/// Volume, and a soft limit: nothing below the knee changes, and nothing reaches 1.
void SpeechStream::shape_samples() {
  const auto volume = static_cast<float>(options_.volume);
  for (float& sample : chunk_.samples) {
    sample *= volume;
    const float size = std::fabs(sample);
    if (size <= kKnee) continue;
    sample = std::copysign(kKnee + (1 - kKnee) * std::tanh((size - kKnee) / (1 - kKnee)), sample);
    if (std::isnan(sample)) sample = 0;
  }
}

void SpeechStream::take_words() {
  returned_ += static_cast<int64_t>(chunk_.samples.size());
  while (!words_.empty() && (words_.front().start < returned_ || !speaking_)) {
    chunk_.words.push_back(std::move(words_.front()));
    words_.pop_front();
  }
}

}  // namespace pocketuni
