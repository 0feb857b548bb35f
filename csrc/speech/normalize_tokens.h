// What the rules of normalization work on: a sentence cut into tokens, a place in it, and what has been said so far.
// A rule is `bool read_x(Scan&)`: it says something and moves on, or leaves everything as it was and returns false.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "speech/normalize.h"

namespace pocketuni {

struct Token {
  enum Kind : uint8_t { kWord, kNumber, kSymbol, kPhones, kBreak, kEnd } kind;
  std::string_view text;  // word: letters with inner apostrophes; number: digits; symbol: one char
  size_t at;              // index in the sentence
  bool space_before;
};

class Scan {
 public:
  Scan(const FoldedText& sentence, const IsKnown& is_known);

  /// The token `ahead` of the current one (or behind it, negative); kEnd with empty text outside the sentence.
  const Token& peek(int ahead = 0) const;
  bool is_word(int ahead) const { return peek(ahead).kind == Token::kWord; }
  bool is_number(int ahead) const { return peek(ahead).kind == Token::kNumber; }
  /// A symbol; glued: without a space before it.
  bool is_symbol(int ahead, char symbol) const;
  bool is_glued(int ahead) const { return peek(ahead).kind != Token::kEnd && !peek(ahead).space_before; }
  bool is_glued(int ahead, char symbol) const { return is_symbol(ahead, symbol) && is_glued(ahead); }
  /// A word, compared without case.
  bool is_word(int ahead, const char* list) const;
  bool done() const { return at_ >= tokens_.size(); }
  /// Number of tokens from `ahead` on that no space separates.
  int glued_count(int ahead) const;
  /// The text of `count` tokens from `ahead` on, spaces left out where there are none.
  std::string_view span(int ahead, int count) const;

  bool known(std::string_view lower_word) const { return is_known_(lower_word); }
  bool shouting() const { return shouting_; }

  /// Says words (lower case, or single capitals for letters) that stand for the next `count` tokens, without moving.
  void say(std::string_view words, int ahead, int count);
  /// The same, then moves behind them.
  void say(std::string_view words, int count);
  void pause(char kind);
  void put(Spoken spoken) { spoken_.push_back(std::move(spoken)); }
  void skip(int count) { at_ += static_cast<size_t>(count); }
  uint64_t begin_of(int ahead) const;
  uint64_t end_of(int ahead) const;
  std::vector<Spoken> take() { return std::move(spoken_); }
  bool has_spoken() const { return !spoken_.empty(); }

 private:
  void cut();
  void find_shouting();

  const FoldedText& sentence_;
  const IsKnown& is_known_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool shouting_ = false;
  std::vector<Spoken> spoken_;
};

// The rules, by file.
bool read_markup(Scan& scan);  // normalize_markup.cc: [[phones]], <break/>
bool read_web(Scan& scan);     // normalize_web.cc: addresses, paths, file names, hashtags
bool read_date(Scan& scan);    // normalize_dates.cc
bool read_time(Scan& scan);
bool read_phone(Scan& scan);
bool read_money(Scan& scan);         // normalize_measures.cc
bool read_number(Scan& scan);        // normalize_quantities.cc: everything else that starts with a number
bool read_abbreviation(Scan& scan);  // normalize_words.cc
bool read_roman(Scan& scan);
bool read_word(Scan& scan);
bool read_symbol(Scan& scan);  // normalize_symbols.cc

/// A number as it is written, grouping commas gone: where it ends and what it says.
struct Quantity {
  std::string digits;  // "1234567" or "3.14"; empty: there is none
  int tokens = 0;
  bool is_integer() const { return digits.find('.') == std::string::npos; }
  bool is_one() const { return digits == "1"; }
};
/// Reads the number at `ahead`: digits, groups of three behind commas, a decimal part.
Quantity quantity_at(const Scan& scan, int ahead);
/// The unit of measurement at `ahead` ("km/h"), in words; `tokens` receives how many it takes. Empty: there is none.
std::string unit_at(const Scan& scan, int ahead, bool singular, int* tokens);
/// "million" and so on at `ahead`, also m, bn, k behind money.
std::string scale_at(const Scan& scan, int ahead, bool money, int* tokens);
/// 1 to 12 for a month's name or abbreviation at `ahead`, else 0; `tokens` counts its period too.
int month_at(const Scan& scan, int ahead, int* tokens);
/// How letters written together are read: a word, letter by letter, or part by part ("camelCase"). Lower case words
/// and single capitals, separated by spaces.
std::string read_letters(const Scan& scan, std::string_view text);

}  // namespace pocketuni
