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
constexpr size_t kLargestChunkAhead = 256;        // threads that speak other utterances wait for the end of each chunk
constexpr int kUsualThreads = 1;                  // far faster than speech is heard
constexpr int kMostUtterances = 4;                // spoken beside each other
constexpr size_t kMostAhead = 512 * kHopSamples;  // samples of each, unheard
constexpr float kKnee = 0.95f;                    // beyond it, samples are bent so that they stay below 1

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

int utterances_at_once(const SpeechOptions& options) { return std::min(options.threads, kMostUtterances); }

/// Utterances that are spoken beside each other share the threads.
SessionOptions session_options(const SpeechOptions& options) {
  SessionOptions session;
  session.threads = options.threads / utterances_at_once(options);
  session.isa = options.isa;
  return session;
}

}  // namespace

SpeechStream::SpeechStream(std::shared_ptr<const Model> model, const SpeechOptions& options)
    : model_(speaking(std::move(model))),
      options_(checked(options)),
      speaker_(options.vector.empty() ? stored_voice(model_->file(), options.voice) : unit_voice(options.vector)),
      front_end_(model_),
      encoder_(model_, session_options(options_)),
      pool_(utterances_at_once(options_)),
      growing_(kFirstChunk) {
  options_.isa = encoder_.isa();  // the caller's string need not outlive this call
  idle_.reserve(kMostUtterances);
  idle_.push_back(std::make_unique<SpokenUtterance>(make_chain()));
  if (!options_.vector.empty()) {
    missing_pitch_ = missing_pitch(&encoder_, idle_.front()->chain(), speaker_, options_.log_f0);
  }
}

std::unique_ptr<VoiceChain> SpeechStream::make_chain() const {
  return std::make_unique<VoiceChain>(model_, session_options(options_), encoder_.width());
}

void SpeechStream::push(std::string_view text) { front_end_.push(text); }

void SpeechStream::finish() { front_end_.finish(); }

const SpeechChunk* SpeechStream::next() {
  chunk_.samples.clear();
  chunk_.words.clear();
  if (cancelled_) return nullptr;
  if (utterances_.empty() && !begin_utterance()) {
    waited_for_ = true;
    growing_ = kFirstChunk;
    return nullptr;
  }
  const size_t frames = options_.chunk_frames > 0 ? options_.chunk_frames : growing_;
  growing_ = std::min(2 * growing_, pool_.size() > 1 ? kLargestChunkAhead : kLargestChunk);
  try {
    if (!speaking_) hear_utterance();
    fill_chunk(frames * kHopSamples);
  } catch (...) {
    words_.clear();  // what is left of this sentence is lost; the next call goes on behind it
    end_utterance();
    throw;
  }
  if (cancelled_) return nullptr;
  waited_for_ = false;
  shape_samples();
  take_words();
  return &chunk_;
}

/// Takes the next sentence through front end and encoder; false when there is none yet.
bool SpeechStream::begin_utterance() {
  if (idle_.empty()) idle_.push_back(std::make_unique<SpokenUtterance>(make_chain()));
  SpokenUtterance& next = *idle_.back();
  try {
    Utterance utterance;
    if (!front_end_.next(&utterance)) return false;
    plan_.plan(utterance, encoder_.run(utterance, speaker_), options_.speed);
    const double log_shift = missing_pitch_ + options_.semitones * std::log(2.0) / 12;
    next.start(utterance, plan_, speaker_, options_.seed * 0x9e3779b9U, log_shift);
  } catch (...) {
    next.start_failed(std::current_exception());  // in its turn
  }
  utterances_.push_back(std::move(idle_.back()));
  idle_.pop_back();
  return true;
}

/// Turns to the first of the utterances that were begun.
void SpeechStream::hear_utterance() {
  SpokenUtterance& heard = *utterances_.front();
  gap_left_ = 0;
  if (heard.paragraph_start && returned_ > 0) gap_left_ = std::llround(kParagraphGap * kRateHz / options_.speed);
  for (SpokenWord& word : heard.words) {
    word.start += returned_ + gap_left_;
    word.stop += returned_ + gap_left_;
    words_.push_back(std::move(word));
  }
  speaking_ = true;
}

void SpeechStream::end_utterance() {
  idle_.push_back(std::move(utterances_.front()));
  utterances_.pop_front();
  speaking_ = false;
}

/// Adds `wanted` samples, or as many as the utterance has.
void SpeechStream::fill_chunk(size_t wanted) {
  const size_t gap = std::min(static_cast<size_t>(gap_left_), wanted);
  chunk_.samples.resize(gap, 0.0f);
  gap_left_ -= static_cast<int64_t>(gap);
  SpokenUtterance& heard = *utterances_.front();
  if (heard.ready() < wanted - gap) speak(wanted - gap);
  heard.take(wanted - gap, &chunk_.samples);
  if (heard.finished()) end_utterance();
}

/// Makes the next `wanted` samples of the utterance and, beside them, some of those that follow it.
void SpeechStream::speak(size_t wanted) {
  // Whoever waits for the first samples does not wait for what comes behind them.
  const bool early = !waited_for_ || wanted >= kLargestChunk * kHopSamples;
  while (early && utterances_.size() < static_cast<size_t>(pool_.size()) && begin_utterance()) {
  }
  SpokenUtterance& heard = *utterances_.front();
  std::atomic<bool> done{false};
  pool_.parallel(heard.has_work() ? static_cast<int>(utterances_.size()) : 1, [&](int index, int) {
    if (index == 0) {
      heard.speak(wanted);
      done = true;
      return;
    }
    while (!done && utterances_[static_cast<size_t>(index)]->speak_ahead(kMostAhead)) {
    }
  });
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
