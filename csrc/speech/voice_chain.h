// From a plan of frames to samples, in windows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "graph/stream.h"
#include "speech/audio_frames.h"
#include "speech/prosody.h"

namespace pocketuni {

/// voice.decoder, voice.pitch, the excitation, voice.vocoder and the inverse transform, for one utterance after
/// another. Samples do not depend on the sizes of the windows, and work before the first window does not grow with the
/// utterance. Not thread-safe.
class VoiceChain {
 public:
  /// `width`: of the encoder's hidden rows. Throws Error(kInvalidArgument) when a tower is missing, has other inputs or
  /// outputs than docs/voice.md says, or sees more than a window of frames.
  VoiceChain(std::shared_ptr<const Model> model, const SessionOptions& options, size_t width);

  /// Begins an utterance. The plan stays unchanged until it ends. `speaker`: 192 floats; `seed` shifts the noise;
  /// `log_shift` is added to the logarithm of F0.
  void start(const FramePlan& plan, const std::vector<float>& speaker, uint32_t seed, double log_shift);
  /// Decoder and pitch reader alone: the logarithm of F0 in Hz of each frame of a plan. Ends the utterance before it.
  std::vector<float> read_log_f0(const FramePlan& plan, const std::vector<float>& speaker);
  /// Frames of the utterance that no tower has seen yet. Without any, the rest costs next to nothing.
  size_t unseen() const { return plan_->frames() - pushed_; }
  /// Computes the next frames, at most `most`, and appends 256 samples for each. Returns how many; 0 at the end.
  size_t pull(size_t most, std::vector<float>* samples);

 private:
  void check_rows(const StreamSession& tower, size_t rows) const;
  void push_frames(size_t count);
  void push_plan(size_t count);
  void pass_mel();
  void pass_source();
  void pass_spectrum();

  StreamSession decoder_, pitch_, vocoder_;
  std::vector<size_t> decoder_order_, vocoder_order_;  // of hidden, place, prosody; of mel, source
  SourceFrames source_;
  InverseStft inverse_;
  const FramePlan* plan_ = nullptr;
  float log_shift_ = 0;
  size_t width_;
  size_t lookahead_;                // frames that must be planned behind the one whose samples are wanted
  size_t pushed_ = 0, pulled_ = 0;  // frames of the utterance
  size_t mel_rows_ = 0, f0_rows_ = 0, spectrum_rows_ = 0;  // that the towers have given
  std::vector<float> hidden_, place_, prosody_, log_f0_, rows_;
  std::vector<float> mel_;  // rows that wait for their source
};

}  // namespace pocketuni
