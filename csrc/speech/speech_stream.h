// Speech while its text arrives: the face of csrc/speech.
//
//   SpeechStream speech(model, options);
//   speech.push("Any amount of text. ");
//   while (const SpeechChunk* chunk = speech.next()) play(chunk->samples);   // all that is complete
//   speech.finish();
//   while (const SpeechChunk* chunk = speech.next()) play(chunk->samples);   // the rest
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "graph/session.h"
#include "speech/prosody.h"
#include "speech/spoken_utterance.h"
#include "speech/text_frontend.h"
#include "speech/voice_towers.h"

namespace pocketuni {

constexpr double kMaxSemitones = 12.0;
constexpr double kMaxVolume = 10.0;
constexpr size_t kMaxChunkFrames = 4096;

struct SpeechOptions {
  std::string voice;          ///< name of a stored voice; "" means the first of the file
  std::vector<float> vector;  ///< 192 floats: a voice of one's own, instead of a name
  double log_f0 = 0;          ///< with a vector: how high it shall speak, Voice::log_f0; 0: as the model makes of it
  double speed = 1;           ///< kMinSpeed .. kMaxSpeed; 2 is twice as fast
  double semitones = 0;       ///< -kMaxSemitones .. kMaxSemitones, added to the pitch
  double volume = 1;          ///< 0 .. kMaxVolume; what would leave [-1, 1] is bent back softly
  uint32_t seed = 0;          ///< of the noise in the voice: another one sounds the same and has other samples
  int threads = 0;            ///< 1 to 64; 0: one, which is far faster than speech is heard. More speak sentences ahead
  const char* isa = nullptr;  ///< null: the fastest, or POCKETUNI_ISA
  size_t chunk_frames = 0;    ///< of 256 samples, for every chunk; 0: few in the first, then more and more
};

struct SpeechChunk {
  std::vector<float> samples;     ///< in [-1, 1], at kRateHz
  std::vector<SpokenWord> words;  ///< those that begin in these samples, or between them and the chunk before
};

/// One text, or several after each other. Samples depend on the text, voice, options and seed only: not on the size of
/// the chunks, the number of threads or how the text was cut. Memory does not grow with the length of the speech. One
/// caller at a time, but for cancel(); streams over one model are independent of each other.
class SpeechStream {
 public:
  /// Throws Error(kInvalidArgument) for an option out of range, an unknown voice, and a model that cannot speak.
  SpeechStream(std::shared_ptr<const Model> model, const SpeechOptions& options);

  /// UTF-8 in pieces of any size.
  void push(std::string_view text);
  /// The text is complete. A further push starts another, and sample and byte counts go on.
  void finish();
  /// The next chunk, valid until the next call; null when more text must come first, at the end, and after cancel().
  /// Throws Error(kInvalidArgument) for faulty markup in the text; that sentence is skipped and the next call goes on.
  const SpeechChunk* next();
  /// Any thread may call it, at any time: no further chunk begins.
  void cancel() { cancelled_ = true; }
  bool cancelled() const { return cancelled_; }

 private:
  std::unique_ptr<VoiceChain> make_chain() const;
  bool begin_utterance();
  void hear_utterance();
  void end_utterance();
  void fill_chunk(size_t wanted);
  void speak(size_t wanted);
  void take_words();
  void shape_samples();

  std::shared_ptr<const Model> model_;
  SpeechOptions options_;
  std::vector<float> speaker_;
  double missing_pitch_ = 0;  // of the logarithm of F0
  TextFrontEnd front_end_;
  VoiceEncoder encoder_;
  FramePlan plan_;  // of the utterance begun last
  ThreadPool pool_;
  std::deque<std::unique_ptr<SpokenUtterance>> utterances_;  // in order; the first is heard, the others made ahead
  std::vector<std::unique_ptr<SpokenUtterance>> idle_;
  std::atomic<bool> cancelled_{false};

  bool speaking_ = false;         // in the first of the utterances
  bool waited_for_ = true;        // the next samples are the first after text was waited for
  int64_t gap_left_ = 0;          // samples of silence before the next one of the utterance
  int64_t returned_ = 0;          // samples, of all chunks
  size_t growing_;                // frames of the next chunk
  std::deque<SpokenWord> words_;  // of the utterance, not yet returned
  SpeechChunk chunk_;
};

}  // namespace pocketuni
