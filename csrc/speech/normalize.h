// From written to spoken English: "Dr. Smith paid $3.50 on 5/17/2024" becomes words that a dictionary can know.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "speech/text_chars.h"

namespace pocketuni {

/// One thing to be said, or a pause.
struct Spoken {
  enum Kind : uint8_t {
    kWord,    ///< `text`: lower case letters and apostrophes
    kLetter,  ///< `text`: one capital, read by its name; "'s" or "s" may follow
    kPhones,  ///< `text`: the phones of [[...]], checked when they are turned into units
    kPause,   ///< `text`: one of , . ? ! -
    kBreak,   ///< a pause of exactly `milliseconds`
  } kind;
  std::string text;
  uint64_t begin, end;  ///< bytes of the input that it stands for
  double milliseconds = 0;
};

/// Whether a word (lower case) is in the pronouncing dictionary: decides how capitals are read.
using IsKnown = std::function<bool(std::string_view)>;

/// The longest pause that <break time="..."/> may ask for.
constexpr double kMaxBreakMs = 10000;

/// Reads one sentence. Whatever has no reading is left out. Throws Error(kInvalidArgument) for a <break .../> whose
/// time is malformed or out of range.
std::vector<Spoken> normalize(const FoldedText& sentence, const IsKnown& is_known);

/// What would be said, for people and tests: words by spaces, pauses as their sign, "<300>" for a break, "[[..]]".
std::string spoken_text(const std::vector<Spoken>& spoken);

}  // namespace pocketuni
