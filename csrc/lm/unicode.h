// The little that is needed of Unicode: UTF-8, spaces, and the capitals of alphabets that have them.
#pragma once
#include <string>
#include <string_view>

namespace pocketuni {

/// What is faulty becomes U+FFFD.
std::u32string from_utf8(std::string_view text);
std::string to_utf8(std::u32string_view text);
bool is_unicode_space(char32_t c);
/// The capital of a Latin, Greek, Cyrillic or Armenian letter, "SS" for U+00DF; anything else as it is.
std::u32string upper_case(char32_t c);

}  // namespace pocketuni
