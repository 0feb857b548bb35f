// Text in, samples out: a Pocket TTS model behind the verbs of SpeechStream.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lm/pocket_speech.h"
#include "lm/pocket_text.h"
#include "speech/sentences.h"

namespace pocketuni {

struct StreamOptions : PocketOptions {
  double volume = 1;        ///< 0 to 10; what would leave [-1, 1] is bent back softly
  size_t chunk_frames = 0;  ///< latents in each chunk of sound; 0: one in the first, then more and more
};

/// A whole text is cut into chunks as the package pocket-tts cuts it. Of one that arrives in pieces, whatever sentences
/// are complete are spoken when next() would have nothing else to give; the first chunk may be a clause. One caller at
/// a time, but for cancel().
class PocketStream {
 public:
  /// Throws Error(kInvalidArgument) for options out of range and a voice of another model, Error(kFormat) for a model
  /// that is damaged. `voice`: null for none.
  PocketStream(std::shared_ptr<const Model> model, const StreamOptions& options, const VoiceState* voice);

  int64_t rate_hz() const { return speech_.rate_hz(); }
  /// UTF-8 in pieces of any size.
  void push(std::string_view text);
  /// The text is complete. A further push starts another.
  void finish();
  /// The whole of a text at once. `frames_after_eos`: -1 for what the model recommends.
  void speak(std::string_view text, int64_t frames_after_eos, size_t max_tokens);
  /// The next samples, valid until the next call; null when more text must come first, at the end, and after cancel().
  /// Throws what drawing them threw; the text that was left is forgotten then.
  const std::vector<float>* next();
  void cancel() { speech_.cancel(); }
  bool cancelled() const { return speech_.cancelled(); }

 private:
  bool speak_complete();
  void forget(size_t bytes);
  void shape();

  PocketSpeech speech_;
  PocketText text_;
  StreamOptions options_;
  double frames_per_second_;
  SentenceSplitter splitter_;
  std::string waiting_;  // text that is not spoken yet
  uint64_t spoken_ = 0;  // bytes of this text that are
  bool begins_ = true;   // nothing of this text is
  size_t growing_ = 0;   // latents in the next chunk
  std::vector<float> samples_;
};

/// A voice's samples bent so that nothing reaches 1; below 0.95 nothing changes. What is not finite becomes 0.
void limit_samples(double volume, std::vector<float>* samples);

}  // namespace pocketuni
