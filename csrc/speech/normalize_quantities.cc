// Numbers that are neither money nor dates: counts, years, ordinals, ranges, fractions, versions, measures.
#include <algorithm>

#include "speech/normalize_numbers.h"
#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

const char kBeforeYear[] =
    "in since by from until till of year during before after around circa c early late mid between and to through "
    "spring summer fall autumn winter class january february march april may june july august september october "
    "november december jan feb mar apr jun jul aug sep sept oct nov dec ad";
const char kVerbs[] = "was is has does as its this us his thus plus versus perhaps always across";

bool is_dash(const Scan& scan, int ahead) {
  return scan.is_symbol(ahead, '-') || scan.is_symbol(ahead, kSymEnDash) || scan.is_symbol(ahead, kSymEmDash);
}

/// Four digits in the place of a year, not of a count.
bool is_year(const Scan& scan, const Quantity& number) {
  const long value = number.is_integer() ? small_value(number.digits) : 0;
  if (number.tokens != 1 || number.digits.size() != 4 || value < 1000 || value > 2999) return false;
  const Token& next = scan.peek(1);
  const bool noun = next.kind == Token::kWord && next.text.size() > 2 && next.text.back() == 's' &&
                    !in_list(lower(next.text), kVerbs) && is_lower(next.text[0]);
  int unit_tokens = 0;
  if (noun || !unit_at(scan, 1, false, &unit_tokens).empty() || scan.is_word(1, "people men women percent feet"))
    return false;
  if (scan.is_word(-1, kBeforeYear) || scan.is_symbol(-1, '\'')) return true;
  return value >= 1900 && value <= 2099;
}

bool read_ordinal(Scan& scan, const Quantity& number) {
  if (!number.is_integer() || !scan.is_glued(number.tokens) || !scan.is_word(number.tokens, "st nd rd th"))
    return false;
  scan.say(ordinal(number.digits), number.tokens + 1);
  return true;
}

/// "1990s", "80s", "the '60s"
bool read_decade(Scan& scan, const Quantity& number) {
  const int apostrophe = scan.is_glued(number.tokens, '\'') ? 1 : 0;
  const int suffix = number.tokens + apostrophe;
  if (!number.is_integer() || number.digits.size() < 2 || number.digits.size() > 4) return false;
  if (!scan.is_glued(suffix) || scan.peek(suffix).text != "s") return false;
  const bool four = number.digits.size() == 4;
  scan.say(number.digits == "00" ? "two thousands" : plural(four ? year(number.digits) : cardinal(number.digits)),
           suffix + 1);
  return true;
}

/// "v1.2.3", "192.168.0.1": more than one period between numbers.
bool read_version(Scan& scan) {
  int count = 1;
  while (scan.is_glued(count, '.') && scan.is_glued(count + 1) && scan.is_number(count + 1)) count += 2;
  if (count < 5) return false;
  for (int i = 0; i < count; i += 2) {
    const std::string_view part = scan.peek(i).text;
    const bool plain = part.size() <= 3 && (part[0] != '0' || part.size() == 1);
    if (i > 0) scan.say(count == 7 ? "dot" : "point", i - 1, 1);
    scan.say(plain ? cardinal(part) : spell_digits(part), i, 1);
  }
  scan.skip(count);
  return true;
}

/// "1/2", "3 1/2", "24/7"
bool read_fraction(Scan& scan) {
  const bool mixed = scan.is_number(1) && !scan.is_glued(1) && scan.is_glued(2, '/');
  const int start = mixed ? 1 : 0;
  if (!scan.is_glued(start + 1, '/') || !scan.is_number(start + 2) || !scan.is_glued(start + 2)) return false;
  if (scan.is_glued(start + 3, '/') || (scan.is_glued(start + 3) && scan.is_word(start + 3))) return false;
  const std::string_view top = scan.peek(start).text, bottom = scan.peek(start + 2).text;
  const bool slogan = scan.span(0, 3) == "24/7" || scan.span(0, 3) == "9/11" || scan.span(0, 3) == "50/50";
  if (!mixed && slogan) {
    scan.say(cardinal(top) + ' ' + cardinal(bottom), 3);
    return true;
  }
  if (top.size() > 4 || bottom.size() > 4 || small_value(bottom) == 0) return false;
  std::string words = fraction(top, bottom);
  if (mixed) {
    if (words.compare(0, 4, "one ") == 0) words = "a " + words.substr(4);
    words = cardinal(scan.peek().text) + " and " + words;
  }
  scan.say(words, start + 3);
  int unit_tokens = 0;
  const std::string unit = unit_at(scan, 0, !mixed, &unit_tokens);
  if (!unit.empty()) scan.say(unit, unit_tokens);
  return true;
}

/// "5'11\"": feet and inches.
bool read_height(Scan& scan) {
  if (!scan.is_glued(1, '\'') || !scan.is_number(2) || !scan.is_glued(2) || !scan.is_glued(3, '"')) return false;
  if (scan.peek(0).text.size() > 2 || scan.peek(2).text.size() > 2) return false;
  scan.say(cardinal(scan.peek(0).text) + " foot " + cardinal(scan.peek(2).text), 4);
  return true;
}

std::string digits_words(const Quantity& number) {
  const bool code = number.is_integer() && number.digits.size() > 1 && number.digits[0] == '0';
  return code ? spell_digits(number.digits) : decimal(number.digits);
}

/// One side of "1920x1080".
std::string size_words(const Quantity& number) {
  return number.digits.size() == 4 && number.is_integer() && number.digits[0] != '0' ? year(number.digits)
                                                                                     : digits_words(number);
}

/// "10-20", "1914-1918", "3-2", "1920x1080": a second number behind a sign.
bool read_range(Scan& scan, const Quantity& first) {
  const int sign = first.tokens;
  const bool times =
      scan.is_symbol(sign, kSymTimes) || (scan.is_word(sign, "x") && scan.is_glued(sign) == scan.is_glued(sign + 1));
  if (!times && !(is_dash(scan, sign) && scan.is_glued(sign))) return false;
  const Quantity second = quantity_at(scan, sign + 1);
  if (second.tokens == 0) return false;
  if (!times && !scan.is_glued(sign + 1)) return false;
  const int after = sign + 1 + second.tokens;
  if (!times && is_dash(scan, after) && scan.is_glued(after)) return false;  // a code: 12-34-56
  if (times && (scan.is_glued(after, '^') || (scan.is_symbol(sign, kSymTimes) && !scan.is_glued(sign)))) {
    scan.say(digits_words(first) + " times", sign + 1);
    return true;  // the second number is read next
  }
  if (times) {
    scan.say(size_words(first) + " by " + size_words(second), after);
    int unit_tokens = 0;
    const std::string unit = unit_at(scan, 0, false, &unit_tokens);
    if (!unit.empty()) scan.say(unit, unit_tokens);
    return true;
  }
  const bool years = first.digits.size() == 4 && first.is_integer() && small_value(first.digits) >= 1000 &&
                     small_value(first.digits) <= 2100 && second.is_integer() &&
                     (second.digits.size() == 4 || second.digits.size() == 2);
  if (years) {
    const std::string upper = second.digits.size() == 4 ? year(second.digits) : cardinal(second.digits);
    scan.say(year(first.digits) + " to " + upper, after);
    return true;
  }
  scan.say(digits_words(first) + " to", sign + 1);
  return true;  // the second number is read next, with its unit
}

/// "6.02e23", "1e-5", "10^6"
bool read_power(Scan& scan, const Quantity& number) {
  int at = number.tokens;
  const bool scientific = scan.is_glued(at) && (scan.peek(at).text == "e" || scan.peek(at).text == "E");
  if (!scientific && !scan.is_glued(at, '^')) return false;
  const bool minus = scan.is_glued(at + 1, '-');
  const int exponent = at + 1 + (minus || scan.is_glued(at + 1, '+') ? 1 : 0);
  if (!scan.is_number(exponent) || !scan.is_glued(exponent)) return false;
  const std::string_view digits = scan.peek(exponent).text;
  std::string words = decimal(number.digits) + (scientific ? " times ten" : "");
  if (!minus && digits == "2") {
    words += " squared";
  } else if (!minus && digits == "3") {
    words += " cubed";
  } else {
    words += std::string(" to the ") + (minus ? "minus " + cardinal(digits) : ordinal(digits));
  }
  scan.say(words, exponent + 1);
  int unit_tokens = 0;
  const std::string unit = unit_at(scan, 0, false, &unit_tokens);
  if (!unit.empty()) scan.say(unit, unit_tokens);
  return true;
}

/// An odd number of quotation marks stands before: the next one closes.
bool in_quotes(const Scan& scan) {
  bool open = false;
  for (int back = -1; scan.peek(back).kind != Token::kEnd; --back) open ^= scan.is_symbol(back, '"');
  return open;
}

/// "5 km", "20%", "3.5 million", "4x", "10-year-old"
void read_measured(Scan& scan, const Quantity& number) {
  int tokens = 0;
  std::string words = digits_words(number);
  int next = number.tokens;
  if (const std::string scale = scale_at(scan, next, false, &tokens); !scale.empty()) {
    words += ' ' + scale;
    next += tokens;
  }
  const bool last_letter = !scan.is_glued(next + 1) || !(scan.is_word(next + 1) || scan.is_number(next + 1));
  if (scan.is_glued(next) && scan.peek(next).text == "x" && last_letter) {
    scan.say(words + " times", next + 1);
    return;
  }
  const int hyphen = scan.is_glued(next, '-') && scan.is_glued(next + 1) ? 1 : 0;
  const std::string unit = unit_at(scan, next + hyphen, hyphen == 1 || number.is_one(), &tokens);
  if (!unit.empty()) {
    words += ' ' + unit;
    next += hyphen + tokens;
    if (scan.is_glued(next, '.') && scan.is_word(next - 1, "ft lb lbs oz hr hrs min sec yd yds mi yr yrs") &&
        scan.peek(next + 1).kind != Token::kEnd) {
      ++next;  // the period of "10 ft. deep"
    }
  } else if (hyphen && (scan.is_word(next + 1))) {
    ++next;  // "10-year-old": the hyphen says nothing
  } else if (scan.is_glued(next, '"') && !in_quotes(scan)) {
    words += number.is_one() ? " inch" : " inches";
    ++next;
  }
  scan.say(words, next);
}

}  // namespace

Quantity quantity_at(const Scan& scan, int ahead) {
  Quantity number;
  if (scan.is_symbol(ahead, '.') && scan.is_number(ahead + 1) && scan.is_glued(ahead + 1)) {
    number.digits = "." + std::string(scan.peek(ahead + 1).text);
    number.tokens = 2;
    return number;
  }
  if (!scan.is_number(ahead)) return number;
  number.digits = scan.peek(ahead).text;
  int next = ahead + 1;
  const auto group = [&](int at) {
    return scan.is_glued(at, ',') && scan.is_number(at + 1) && scan.is_glued(at + 1) &&
           scan.peek(at + 1).text.size() == 3;
  };
  if (number.digits.size() <= 3 && number.digits[0] != '0') {
    for (; group(next); next += 2) number.digits += scan.peek(next + 1).text;
  }
  if (scan.is_glued(next, '.') && scan.is_number(next + 1) && scan.is_glued(next + 1)) {
    number.digits += "." + std::string(scan.peek(next + 1).text);
    next += 2;
  }
  number.tokens = next - ahead;
  return number;
}

bool read_number(Scan& scan) {
  const bool minus = scan.is_symbol(0, '-') && scan.peek().space_before && scan.is_glued(1);
  const bool signed_number = minus || (scan.is_symbol(0, kSymPlusMinus) || scan.is_symbol(0, '+'));
  if (signed_number && quantity_at(scan, 1).tokens > 0 && !scan.is_glued(0)) {
    scan.say(minus ? "minus" : scan.is_symbol(0, '+') ? "plus" : "plus or minus", 1);
  }
  const Quantity number = quantity_at(scan, 0);
  if (number.tokens == 0) return false;
  if (scan.is_number(0) && (read_version(scan) || read_fraction(scan) || read_height(scan))) return true;
  if (read_ordinal(scan, number) || read_decade(scan, number) || read_power(scan, number)) return true;
  if (read_range(scan, number)) return true;
  if (is_year(scan, number)) {
    scan.say(year(number.digits), number.tokens);
    return true;
  }
  const bool hundreds = number.tokens == 1 && number.digits.size() == 4 && small_value(number.digits) % 100 == 0 &&
                        small_value(number.digits) > 1000 && small_value(number.digits) % 1000 != 0;
  if (hundreds && scan.is_word(1) && !scan.is_glued(1)) {  // "1500 people": fifteen hundred
    int unit_tokens = 0;
    if (unit_at(scan, 1, false, &unit_tokens).empty()) {
      scan.say(year(number.digits), 1);
      return true;
    }
  }
  read_measured(scan, number);
  return true;
}

}  // namespace pocketuni
