// Speech of a Pocket TTS model, chunk by chunk of text: the language model draws latents on one thread while the codec
// turns those before into samples on another.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "lm/codec.h"
#include "lm/flow_lm.h"
#include "lm/voice_state.h"

namespace pocketuni {

struct PocketOptions {
  double temperature = 0.3;   ///< variance of the noise
  double noise_clamp = 0;     ///< no noise beyond it; 0: no bound
  double eos_threshold = -4;  ///< speech ends when the model's logit is above it
  int steps = 1;              ///< from noise to latent, where the model knows more than one
  uint64_t seed = 0;
  int threads = 0;  ///< 1: the caller alone; else the language model has a thread of its own
  const char* isa = nullptr;
};

/// The options that a model recommends.
PocketOptions recommended_options(const PocketSettings& settings);

/// A piece of text for the language model.
struct TextChunk {
  std::vector<int64_t> ids;
  int64_t max_frames = 0;        ///< latents at most
  int64_t frames_after_eos = 0;  ///< latents that are still taken after the model said that speech has ended
  std::vector<float> noise;      ///< rows of latents, instead of drawn ones, as far as they go
};

/// Samples depend on voice, chunks, options and seed only, not on threads. One caller at a time, but for cancel().
class PocketSpeech {
 public:
  /// Throws Error(kInvalidArgument) for a model that is none, options out of range, a voice of another model.
  /// `voice`: null for none.
  PocketSpeech(std::shared_ptr<const Model> model, const PocketOptions& options, const VoiceState* voice);
  ~PocketSpeech();

  int64_t rate_hz() const { return settings_.rate_hz; }
  /// Adds a chunk behind those that are not spoken yet.
  void push(TextChunk chunk);
  /// Computes and replaces `samples` by the next ones, of at most `most_frames` frames; none when nothing is left to be
  /// said or after cancel(). Throws what drawing latents threw; the chunks that were left are forgotten then.
  void next(size_t most_frames, std::vector<float>* samples);
  /// Any thread may call it, at any time.
  void cancel();
  bool cancelled() const { return cancelled_; }

 private:
  struct Frame {
    std::vector<float> latent;
    bool first;  // of its chunk
  };

  bool draw_frame();
  void begin_chunk();
  bool to_draw() const { return speaking_ || !chunks_.empty(); }
  void draw(std::unique_lock<std::mutex>& lock);
  void work();
  void wait_for_frames(size_t most, std::vector<Frame>* frames);
  void fade_in(std::vector<float>* samples) const;

  PocketSettings settings_;
  PocketOptions options_;
  FlowLm lm_;
  CodecDecoder decoder_;
  int64_t voice_positions_ = 0;

  // Of whoever draws: the thread, or the caller where there is none.
  TextChunk chunk_;
  int64_t step_ = 0, eos_step_ = -1;
  uint64_t sequence_ = 0;
  std::vector<float> latent_, noise_, next_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<TextChunk> chunks_;  // guarded, as is all below
  std::deque<Frame> frames_;
  bool speaking_ = false;  // within a chunk
  bool busy_ = false, stop_ = false;
  std::exception_ptr fault_;
  std::atomic<bool> cancelled_{false};
  std::thread thread_;
};

}  // namespace pocketuni
