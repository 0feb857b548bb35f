// Cuts a stream of text into sentences while it arrives.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "speech/text_chars.h"

namespace pocketuni {

/// No sentence is longer, in chars of folded text.
constexpr size_t kSentenceLength = 400;
/// From this length on a sentence ends at the next comma, semicolon, colon or dash.
constexpr size_t kClauseLength = 200;

struct Sentence {
  FoldedText text;               ///< trimmed, not empty, at most kSentenceLength chars; runs of spaces are one
  bool cut = false;              ///< it was too long: it ends where its sentence does not
  bool paragraph_start = false;  ///< a blank line stands before it
};

/// Feed text in pieces of any size (a piece may end within a UTF-8 sequence); take sentences as soon as they are
/// certain: at the latest when the word after them is there, mostly at the first space behind them. Time is linear in
/// the input; memory is what was pushed and not taken, and one sentence. Not thread-safe.
class SentenceSplitter {
 public:
  void push(std::string_view text);
  /// No more text will come; what remains becomes the last sentence. `push` afterwards starts a
  /// new text, whose offsets go on from this one's.
  void finish();
  /// The next sentence that can be spoken, or nothing until more is pushed.
  std::optional<Sentence> next();

 private:
  enum class End { kNo, kYes, kUnsure };
  static constexpr size_t kNone = static_cast<size_t>(-1);

  /// What was seen in the sentence being read.
  struct Marks {
    size_t newlines = 0;       // before its first char
    size_t line_start = 0;     // index in folded_
    size_t last_space = 0;     // where a sentence that grows too long may be cut; 0: nowhere
    size_t last_clause = 0;    // the same, behind a comma, semicolon, colon or dash
    size_t ambiguous = 0;      // the space behind an abbreviation that may end the sentence; 0: none
    size_t markup_length = 0;  // chars since "[[" or "<break" opened; 0: outside
  };

  std::optional<Sentence> take_char();
  bool read_char();
  size_t append(char c, uint64_t begin, uint64_t end);
  void append_space(char c, uint64_t begin, uint64_t end);
  void track_markup();
  size_t cut_at_space(size_t space);
  size_t cut_of_ambiguous();
  size_t cut_of_long() const;
  bool line_ends(size_t newline, char next) const;
  End sentence_ends(size_t space, char next) const;
  Sentence take(size_t cut);

  std::string bytes_;  // pushed, from consumed_ on not yet folded
  size_t consumed_ = 0;
  uint64_t offset_ = 0;  // of bytes_[consumed_] in the whole input
  bool finished_ = false;

  FoldedText incoming_;  // folded, from read_ on not yet appended
  size_t read_ = 0;

  FoldedText folded_;  // the sentence being read
  Marks marks_;        // in it
};

}  // namespace pocketuni
