// What can be told of a recording while it is made: levels, clipping, noise; and what to advise its speaker.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace pocketuni {

/// In dB against full scale (a constant 1 has 0 dB); -120 for silence.
struct Level {
  double rms_db = -120, peak_db = -120;
};

/// Levels of samples at any rate. Memory does not grow.
class LevelMeter {
 public:
  explicit LevelMeter(int64_t rate_hz);
  void push(const float* samples, size_t count);
  double seconds() const { return static_cast<double>(count_) / static_cast<double>(rate_hz_); }
  /// Of the last 300 ms.
  Level recent() const;
  /// Of tenths of a second: nine of ten are softer.
  double loud_db() const;
  /// The share of samples that lie at the very top, of those that are not faint: a voice is there for a moment at a
  /// time, a clipped one stays. It is seen at any level and after lossy coding.
  double clipped_share() const;

 private:
  static constexpr size_t kAmplitudes = 2048, kBlocks = 3, kDecibels = 120;
  struct Block {
    double squares = 0;
    float peak = 0;
    int64_t count = 0;
  };

  int64_t rate_hz_, count_ = 0;
  std::array<Block, kBlocks> blocks_{};                 // the last one is being filled
  std::array<uint64_t, kAmplitudes + 1> amplitudes_{};  // the last one: full scale and more
  std::array<uint64_t, kDecibels> block_levels_{};      // 0 .. -119 dB
};

/// Levels of mel frames that hold speech and of those that do not. Memory does not grow.
class FrameLevels {
 public:
  void add(const float* mel, bool speech);
  uint64_t frames() const { return frames_[0] + frames_[1]; }
  /// How far speech lies above what is heard between, in dB; 60 or more where there is nothing.
  double speech_to_noise_db() const;

 private:
  static constexpr size_t kDecibels = 160;
  std::array<std::array<uint64_t, kDecibels>, 2> counts_{};  // [speech]
  std::array<uint64_t, 2> frames_{};
};

struct RecordingFacts {
  int64_t rate_hz = 0;
  double heard_seconds = 0, speech_seconds = 0;
  double loud_db = -120, clipped_share = 0, speech_to_noise_db = 60;
  double other_speaker_share = 0;  ///< see SpeakerPool
};

/// How far the voice can be trusted, 0 .. 1: docs/voice.md, Voices from recordings.
double recording_confidence(const RecordingFacts& facts);

/// From this confidence on, more speech changes the voice little.
constexpr double kEnoughConfidence = 0.75;

/// Plain sentences that say what is wrong with the recording and what to do; none for a good one.
std::vector<std::string> recording_advice(const RecordingFacts& facts);

}  // namespace pocketuni
