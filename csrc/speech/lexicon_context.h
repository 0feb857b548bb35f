// Words whose pronunciation depends on their neighbours.
#pragma once
#include <string_view>

#include "speech/units.h"

namespace pocketuni {

/// The pronunciation that a word's neighbours ask for, as ARPAbet; null for a word that has only one. Words are lower
/// case, neighbours empty at the ends of a sentence or behind a pause. `vowel_follows`: the next word starts with a
/// vowel sound.
const char* pronunciation_in_context(std::string_view word, std::string_view previous, std::string_view next,
                                     bool vowel_follows);

/// Names of letters as they are spelled: "EY1" for 'A'. `letter` is 'A' .. 'Z'.
const char* letter_name(char letter);

}  // namespace pocketuni
