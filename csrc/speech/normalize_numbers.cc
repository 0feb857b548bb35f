#include "speech/normalize_numbers.h"

#include <algorithm>
#include <vector>

namespace pocketuni {
namespace {

const char* const kSmall[] = {"zero",     "one",     "two",     "three",     "four",     "five",    "six",
                              "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",  "thirteen",
                              "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
const char* const kTens[] = {"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"};
const char* const kScales[] = {"",           "thousand",    "million",     "billion",
                               "trillion",   "quadrillion", "quintillion", "sextillion",
                               "septillion", "octillion",   "nonillion",   "decillion"};
constexpr size_t kNamedDigits = 36;

void add(std::string* words, const char* word) {
  if (!words->empty()) *words += ' ';
  *words += word;
}

void add_below_thousand(std::string* words, int value) {
  if (value >= 100) {
    add(words, kSmall[value / 100]);
    add(words, "hundred");
    value %= 100;
  }
  if (value >= 20) {
    add(words, kTens[value / 10]);
    value %= 10;
  }
  if (value > 0) add(words, kSmall[value]);
}

std::string below_hundred(int value) {
  std::string words;
  if (value == 0) return kSmall[0];
  add_below_thousand(&words, value);
  return words;
}

struct Replacement {
  const char *from, *to;
};

const Replacement kOrdinals[] = {{"one", "first"},    {"two", "second"}, {"three", "third"},   {"five", "fifth"},
                                 {"eight", "eighth"}, {"nine", "ninth"}, {"twelve", "twelfth"}};

}  // namespace

std::string cardinal(std::string_view digits) {
  const size_t first = std::min(digits.find_first_not_of('0'), digits.size());
  const std::string_view significant = digits.substr(first);
  if (significant.empty()) return digits.empty() ? "" : kSmall[0];
  if (significant.size() > kNamedDigits) return spell_digits(digits);
  std::string words;
  const size_t groups = (significant.size() + 2) / 3;
  for (size_t group = groups, at = 0; group-- > 0;) {
    const size_t end = significant.size() - 3 * group;
    int value = 0;
    for (; at < end; ++at) value = value * 10 + (significant[at] - '0');
    if (value == 0) continue;
    add_below_thousand(&words, value);
    if (group > 0) add(&words, kScales[group]);
  }
  return words;
}

std::string ordinal(std::string_view digits) {
  std::string words = cardinal(digits);
  const size_t last = words.rfind(' ') == std::string::npos ? 0 : words.rfind(' ') + 1;
  const std::string word = words.substr(last);
  for (const Replacement& item : kOrdinals) {
    if (word == item.from) return words.substr(0, last) + item.to;
  }
  if (word.back() == 'y') return words.substr(0, words.size() - 1) + "ieth";
  return words + "th";
}

std::string spell_digits(std::string_view digits) {
  std::string words;
  for (char digit : digits) add(&words, kSmall[digit - '0']);
  return words;
}

std::string decimal(std::string_view number) {
  const size_t point = number.find('.');
  if (point == std::string_view::npos) return cardinal(number);
  std::string words = cardinal(number.substr(0, point));
  add(&words, "point");
  return words + ' ' + spell_digits(number.substr(point + 1));
}

std::string year(std::string_view digits) {
  const long value = small_value(digits);
  if (value < 1000 || value > 9999) return cardinal(digits);
  const int century = static_cast<int>(value / 100), rest = static_cast<int>(value % 100);
  if (century % 10 == 0 && rest < 10) return cardinal(digits);  // two thousand nine
  std::string words = below_hundred(century);
  if (rest == 0) return words + " hundred";
  return words + (rest < 10 ? " oh " : " ") + below_hundred(rest);
}

std::string plural(std::string words) {
  if (words.empty()) return words;
  if (words.back() == 'y') return words.substr(0, words.size() - 1) + "ies";
  return words + (words.back() == 'x' || words.back() == 's' || words.back() == 'h' ? "es" : "s");
}

std::string fraction(std::string_view numerator, std::string_view denominator) {
  const long parts = small_value(denominator);
  const bool one = small_value(numerator) == 1;
  std::string words = cardinal(numerator) + ' ';
  if (parts == 2) return words + (one ? "half" : "halves");
  if (parts == 4) return words + (one ? "quarter" : "quarters");
  if (parts < 2 || parts > 100) return words + "over " + cardinal(denominator);
  const std::string name = ordinal(denominator);
  return words + (one ? name : name + "s");
}

long small_value(std::string_view digits) {
  if (digits.empty() || digits.size() > 9) return -1;
  long value = 0;
  for (char digit : digits) {
    if (digit < '0' || digit > '9') return -1;
    value = value * 10 + (digit - '0');
  }
  return value;
}

int roman_value(std::string_view text) {
  static const struct {
    const char* letters;
    int value;
  } kParts[] = {{"M", 1000}, {"CM", 900}, {"D", 500}, {"CD", 400}, {"C", 100}, {"XC", 90}, {"L", 50},
                {"XL", 40},  {"X", 10},   {"IX", 9},  {"V", 5},    {"IV", 4},  {"I", 1}};
  if (text.size() > 15) return 0;
  int value = 0;
  size_t at = 0;
  for (const auto& part : kParts) {
    const std::string_view letters = part.letters;
    // Canonical: only I, X, C, M repeat, and at most three times.
    const int most = letters.size() == 1 && letters != "V" && letters != "L" && letters != "D" ? 3 : 1;
    for (int i = 0; i < most && text.substr(at, letters.size()) == letters; ++i) {
      value += part.value;
      at += letters.size();
    }
  }
  return at == text.size() ? value : 0;
}

}  // namespace pocketuni
