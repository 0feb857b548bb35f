// The units that the voice model reads: one id for each phone with its stress, one for each kind of pause.
// The numbers are those of docs/voice.md.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pocketuni {

enum Unit : uint8_t {
  kUnitSilence = 0,
  kUnitComma = 1,
  kUnitPeriod = 2,
  kUnitQuestion = 3,
  kUnitExclamation = 4,
  kUnitDash = 5,  ///< dashes, colons, semicolons, brackets
  kFirstPhone = 6,
  kFirstVowel = 30,  ///< from here on three ids a vowel: stress 0, 1, 2
  kUnitCount = 75,
};

/// Phones of one word, as unit ids in kFirstPhone .. kUnitCount - 1.
using Phones = std::vector<uint8_t>;

inline bool is_pause(uint8_t unit) { return unit >= kUnitComma && unit <= kUnitDash; }
inline bool is_vowel(uint8_t unit) { return unit >= kFirstVowel; }
/// 0, 1 (primary) or 2 (secondary) for a vowel.
inline int stress_of(uint8_t vowel) { return (vowel - kFirstVowel) % 3; }
inline uint8_t with_stress(uint8_t vowel, int stress) {
  return static_cast<uint8_t>(vowel - stress_of(vowel) + stress);
}

/// "AH0", "HH", or "," and so on for pauses, "sil" for silence.
const char* unit_name(uint8_t unit);
/// The id of an ARPAbet phone; vowels carry their stress and may leave it out (then it is 0). -1 for anything else.
int parse_phone(std::string_view name);
/// Phones separated by spaces, at most 64. Throws Error(kInvalidArgument) naming the symbol that is none.
Phones parse_phones(std::string_view text);
std::string phones_text(const Phones& phones);

/// A word has exactly one primary stress: the first stays, further ones become secondary; where there is none, the
/// first secondary, else the first vowel, gets it.
void settle_stress(Phones* phones);

}  // namespace pocketuni
