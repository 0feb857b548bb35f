// Letter to sound: the tower `g2p` of a model, for words that its dictionary does not hold.
#pragma once
#include <memory>
#include <string_view>

#include "graph/session.h"
#include "speech/units.h"

namespace pocketuni {

/// Runs the tower `g2p`: `letters` int64 [1, T] (0 the two edges of a word, 1 .. 26 a .. z, 27 apostrophe) to scores
/// f32 [1, T, 2 * 70] (two slots a letter; label 0 no phone, label i the unit i + 5). Equal labels side by side are one
/// phone (CTC). Not thread-safe.
class LetterToSound {
 public:
  /// Throws Error(kInvalidArgument) when the model has no such tower or its inputs or outputs are others.
  explicit LetterToSound(std::shared_ptr<const Model> model);

  /// Phones of a word of a .. z and apostrophes, with one primary stress. Long words are read in pieces of 40 letters.
  Phones pronounce(std::string_view word);

 private:
  void pronounce_piece(std::string_view piece, Phones* phones);

  Session session_;
};

}  // namespace pocketuni
