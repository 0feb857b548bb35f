// Text for Pocket TTS models: how it is prepared, cut into chunks, and how long a chunk may last (docs/pocket.md,
// Text).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lm/piece_tokenizer.h"
#include "lm/pocket_settings.h"

namespace pocketuni {

/// Pieces of a chunk at most: the models were trained on single sentences.
constexpr size_t kMaxChunkTokens = 50;

/// Text is UTF-8; what is faulty in it counts as U+FFFD. Immutable: threads may share one.
class PocketText {
 public:
  PocketText(TextRules rules, std::shared_ptr<const PieceTokenizer> tokenizer);
  /// Of a model: its rules and the blob `pocket.tokenizer`. Throws Error(kFormat) when it is missing or damaged.
  explicit PocketText(const ModelFile& file);

  const PieceTokenizer& tokenizer() const { return *tokenizer_; }
  /// A text as the model was trained on it; "" for one that holds nothing to say.
  std::string prepare(std::string_view text) const;
  /// Sentences in groups of at most `most` tokens; a sentence that is longer is cut at commas, semicolons and colons.
  std::vector<std::string> chunks(std::string_view text, size_t most = kMaxChunkTokens) const;
  /// Frames that are still spoken after the model said that a chunk has ended: short ones end more slowly.
  int64_t frames_after_eos(std::string_view chunk) const;

 private:
  using Piece = std::pair<size_t, std::string>;  // tokens, text
  std::u32string cleaned(std::string_view text) const;
  bool within_number(const std::vector<int64_t>& ids, size_t place) const;
  std::vector<Piece> sentences(std::string_view text, size_t most) const;

  TextRules rules_;
  std::shared_ptr<const PieceTokenizer> tokenizer_;
  std::vector<int64_t> ends_, commas_;  // tokens that end sentences, and parts of them
};

/// How many frames a chunk may last, so that one that never ends does.
int64_t most_frames(size_t tokens, double frames_per_second);

}  // namespace pocketuni
