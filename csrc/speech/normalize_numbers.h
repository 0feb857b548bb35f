// Numbers as English words, from their digits: no value is too large, for a long one is read digit by digit.
#pragma once
#include <string>
#include <string_view>

namespace pocketuni {

/// "1234" -> "one thousand two hundred thirty four"; more than 36 digits are read one by one.
std::string cardinal(std::string_view digits);
/// "21" -> "twenty first".
std::string ordinal(std::string_view digits);
/// "007" -> "zero zero seven".
std::string spell_digits(std::string_view digits);
/// "3.14" -> "three point one four"; also plain integers and ".5".
std::string decimal(std::string_view number);
/// One to four digits as a year: "1905" -> "nineteen oh five".
std::string year(std::string_view digits);
/// The last word in the plural: "nineteen nineties", "sixes".
std::string plural(std::string words);
/// "1", "2" -> "one half"; "3", "4" -> "three quarters"; "2", "21" -> "two twenty firsts".
std::string fraction(std::string_view numerator, std::string_view denominator);

/// Value of up to nine digits; -1 for more, none, or anything else.
long small_value(std::string_view digits);
/// The value of a canonical Roman numeral in capitals, 1 to 3999; 0 when it is none.
int roman_value(std::string_view text);

}  // namespace pocketuni
