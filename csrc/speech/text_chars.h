// From bytes to the small alphabet that the rest of the front end reads: printable ASCII, spaces, and a few symbols.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pocketuni {

/// Symbols without an ASCII form, as bytes from 0x80 on. Everything below is ASCII.
enum Symbol : char {
  kSymPound = '\x80',
  kSymEuro,
  kSymYen,
  kSymCent,
  kSymRupee,
  kSymWon,
  kSymDegree,
  kSymMicro,
  kSymTimes,
  kSymDivide,
  kSymPlusMinus,
  kSymApprox,
  kSymLessEqual,
  kSymGreaterEqual,
  kSymNotEqual,
  kSymSection,
  kSymCopyright,
  kSymRegistered,
  kSymBullet,
  kSymEnDash,
  kSymEmDash,
  kSymSquared,
  kSymCubed,
  kSymRoot,
  kSymInfinity,
  kSymArrow,
  kSymPerMille,
  kSymOhm,
};

/// Text in that alphabet; char `i` stands for the bytes `begin[i] .. end[i]` of the input (offsets from its start).
struct FoldedText {
  std::string text;
  std::vector<uint64_t> begin, end;

  size_t size() const { return text.size(); }
  void append(char c, uint64_t from, uint64_t to);
  /// Drops what is behind the first `size` chars, of a last one that was appended in part too.
  void cut(size_t size);
  FoldedText slice(size_t from, size_t to) const;
};

/// Reads one code point of UTF-8 from `bytes`. Returns how many bytes it took, with U+FFFD in `code` for a faulty
/// sequence; 0 when the bytes end within a sequence and more may follow (`last` is false).
size_t decode_utf8(std::string_view bytes, bool last, char32_t* code);

/// Writes what a code point stands for: accents fall, ligatures and fullwidth forms open up, quotes and dashes become
/// plain. Whitespace is ' ', or '\n' for a line's end. Nothing is written for marks and invisible characters; ' ' for
/// scripts and pictures that this front end cannot read.
void fold(char32_t code, std::string* out);

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
inline bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
inline bool is_letter(char c) { return is_lower(c) || is_upper(c); }
inline char to_lower(char c) { return is_upper(c) ? static_cast<char>(c + 32) : c; }
std::string lower(std::string_view text);
/// True when one of a sorted or unsorted list of names separated by single spaces equals `word`.
bool in_list(std::string_view word, const char* list);

}  // namespace pocketuni
