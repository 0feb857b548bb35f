// Text in, units of the voice model out, sentence by sentence while the text arrives.
//
//   TextFrontEnd front_end(model);
//   front_end.push("Dr. Smith paid $3. Then he ");
//   Utterance utterance;
//   while (front_end.next(&utterance)) speak(utterance);   // the first sentence is there already
//   front_end.push("left."); front_end.finish();
//   while (front_end.next(&utterance)) speak(utterance);
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "speech/sentences.h"
#include "speech/text_pronounce.h"

namespace pocketuni {

/// One sentence, or a clause of a long one.
struct Utterance {
  struct Word {
    std::string text;          ///< as it is spoken: "three", "dollars"; a capital for a letter's name
    uint64_t begin, end;       ///< bytes of the input, counted from the first push; words of one number share them
    size_t first_unit, units;  ///< its place in `units` below
  };
  /// A pause of a given length: the unit (a pause, or the silence at the start) lasts exactly this long.
  struct Break {
    size_t unit;
    double milliseconds;
  };

  std::vector<int64_t> units;    ///< docs/voice.md: 0, phones and pauses, closing pause, 0
  std::vector<int64_t> flags;    ///< 1 at the first unit of a word, else 0; as many as units
  std::vector<Word> words;       ///< in order; empty for an utterance that is only a break
  std::vector<Break> breaks;     ///< in order of their units, at most one for a unit
  uint64_t begin = 0, end = 0;   ///< bytes of the input that it stands for
  bool paragraph_start = false;  ///< a blank line stands before it
  bool clause = false;           ///< the sentence goes on in the next utterance
};

/// Not thread-safe; several front ends may share one model.
class TextFrontEnd {
 public:
  /// Needs the blob `lexicon.en` and the tower `g2p`. Throws Error(kInvalidArgument) naming what the model lacks.
  explicit TextFrontEnd(std::shared_ptr<const Model> model);
  TextFrontEnd(const TextFrontEnd&) = delete;
  TextFrontEnd& operator=(const TextFrontEnd&) = delete;

  /// UTF-8 in pieces of any size; faulty bytes and scripts other than Latin and Greek are passed over.
  void push(std::string_view text);
  /// The next utterance that is complete. False: push more, or, after finish(), there is none. Throws
  /// Error(kInvalidArgument) for a faulty [[...]] or <break/>; the sentence is then skipped and the next call goes on.
  bool next(Utterance* utterance);
  /// The text is complete. A further push starts another, with offsets that go on.
  void finish();

 private:
  Pronouncer pronouncer_;
  SentenceSplitter splitter_;
  IsKnown is_known_;
};

}  // namespace pocketuni
