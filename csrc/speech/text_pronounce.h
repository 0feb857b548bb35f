// From spoken words to phones: context, dictionary, word formation, letter-to-sound, in this order.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "speech/g2p.h"
#include "speech/lexicon.h"
#include "speech/normalize.h"

namespace pocketuni {

/// Pronounces English with the dictionary (blob `lexicon.en`) and the tower `g2p` of a model. Not thread-safe.
class Pronouncer {
 public:
  /// Throws Error(kInvalidArgument) when the model lacks one of them, Error(kFormat) when the dictionary is faulty.
  explicit Pronouncer(std::shared_ptr<const Model> model);

  /// Phones of each item that is one of words, letters, or [[phones]]; empty for pauses and for words that have none.
  /// Throws Error(kInvalidArgument) naming the symbol of a [[...]] that is no phone.
  std::vector<Phones> pronounce(const std::vector<Spoken>& spoken);
  /// One word of a .. z and apostrophes, without context.
  Phones pronounce_word(const std::string& word);
  bool is_known(std::string_view word) const { return lexicon_.is_known(word); }

 private:
  bool from_stem(const std::string& word, Phones* phones) const;
  Phones pronounce_item(const Spoken& item);

  std::shared_ptr<const Model> model_;
  Lexicon lexicon_;
  LetterToSound letter_to_sound_;
  std::unordered_map<std::string, Phones> cache_;  // of letter-to-sound, at most kCached words
};

}  // namespace pocketuni
