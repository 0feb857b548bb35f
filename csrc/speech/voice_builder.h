// A voice while it is heard.
//
//   VoiceBuilder builder(model, 16000, options);
//   while (...) builder.feed(samples, count);        // any number at a time
//   Voice voice = builder.voice();                   // at any moment; more may be fed afterwards
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/stream.h"
#include "speech/mel_frames.h"
#include "speech/pitch_meter.h"
#include "speech/recording.h"
#include "speech/resample.h"
#include "speech/speaker_pool.h"
#include "speech/voice.h"

namespace pocketuni {

constexpr int64_t kLeastInputHz = 8000, kMostInputHz = 192000;
/// Speech that a voice needs at the least.
constexpr double kLeastSpeechSeconds = 0.5;

/// A voice is a function of the samples fed before: how they were cut, and the number of threads, change no bit of it.
/// The last frames (those whose windows are not complete, a fraction of a second) count when what follows them is fed.
/// Memory does not grow. One caller at a time; builders over one model are independent of each other.
class VoiceBuilder {
 public:
  /// Throws Error(kInvalidArgument) for a rate outside kLeastInputHz .. kMostInputHz, and a model that cannot clone.
  VoiceBuilder(std::shared_ptr<const Model> model, int64_t rate_hz, const SessionOptions& options);

  /// Mono samples, full scale 1. Throws Error(kInvalidArgument), and takes none of them, when one is not finite or far
  /// beyond full scale.
  void feed(const float* samples, size_t count);
  /// The voice of the speech heard so far; its name is empty. Throws Error(kInvalidArgument) below kLeastSpeechSeconds,
  /// with advice.
  Voice voice();

  /// Seconds of speech that count, and of all samples.
  double seconds() const;
  double heard_seconds() const { return levels_.seconds(); }
  double confidence() const { return recording_confidence(facts()); }
  /// Of the last 300 ms.
  Level level() const { return levels_.recent(); }
  std::vector<std::string> advice() const { return recording_advice(facts()); }
  RecordingFacts facts() const;

 private:
  void take_block(const float* samples, size_t count);
  void take_frames();

  std::shared_ptr<const Model> model_;
  int64_t rate_hz_;
  LevelMeter levels_;
  Resampler resampler_;
  MelFrames mel_frames_;
  PitchFrames pitch_frames_;
  StreamSession activity_, speaker_;
  size_t width_;  // of a row of features
  SpeakerPool pool_;
  FrameLevels frame_levels_;
  PitchMedian pitch_;
  uint64_t frame_ = 0;  // the next one to be judged
  // What was computed of frame_ and those behind it, until all of it is there.
  std::vector<float> mel_, features_, scores_;
  std::vector<PitchFrame> pitches_;  // of every second frame
  std::vector<float> samples_, new_mel_;
};

}  // namespace pocketuni
