// Quantities with a unit: "5 km/h", "20°C", "$3.50", "€2 million".
#include <algorithm>

#include "speech/normalize_numbers.h"
#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

struct UnitName {
  const char *symbol, *singular, *plural;  // plural null: singular + "s"
};

const UnitName kUnits[] = {
    {"km", "kilometer", nullptr},
    {"m", "meter", nullptr},
    {"cm", "centimeter", nullptr},
    {"mm", "millimeter", nullptr},
    {"\x87m", "micrometer", nullptr},
    {"um", "micrometer", nullptr},
    {"nm", "nanometer", nullptr},
    {"mi", "mile", nullptr},
    {"ft", "foot", "feet"},
    {"yd", "yard", nullptr},
    {"yds", "yard", nullptr},
    {"kg", "kilogram", nullptr},
    {"g", "gram", nullptr},
    {"mg", "milligram", nullptr},
    {"\x87g", "microgram", nullptr},
    {"mcg", "microgram", nullptr},
    {"lb", "pound", nullptr},
    {"lbs", "pound", nullptr},
    {"oz", "ounce", nullptr},
    {"l", "liter", nullptr},
    {"L", "liter", nullptr},
    {"ml", "milliliter", nullptr},
    {"mL", "milliliter", nullptr},
    {"cl", "centiliter", nullptr},
    {"dl", "deciliter", nullptr},
    {"ha", "hectare", nullptr},
    {"gal", "gallon", nullptr},
    {"s", "second", nullptr},
    {"sec", "second", nullptr},
    {"secs", "second", nullptr},
    {"ms", "millisecond", nullptr},
    {"\x87s", "microsecond", nullptr},
    {"us", "microsecond", nullptr},
    {"ns", "nanosecond", nullptr},
    {"min", "minute", nullptr},
    {"mins", "minute", nullptr},
    {"h", "hour", nullptr},
    {"hr", "hour", nullptr},
    {"hrs", "hour", nullptr},
    {"yr", "year", nullptr},
    {"yrs", "year", nullptr},
    {"Hz", "hertz", "hertz"},
    {"kHz", "kilohertz", "kilohertz"},
    {"MHz", "megahertz", "megahertz"},
    {"GHz", "gigahertz", "gigahertz"},
    {"THz", "terahertz", "terahertz"},
    {"dB", "decibel", nullptr},
    {"kB", "kilobyte", nullptr},
    {"KB", "kilobyte", nullptr},
    {"MB", "megabyte", nullptr},
    {"GB", "gigabyte", nullptr},
    {"TB", "terabyte", nullptr},
    {"PB", "petabyte", nullptr},
    {"KiB", "kibibyte", nullptr},
    {"MiB", "mebibyte", nullptr},
    {"GiB", "gibibyte", nullptr},
    {"kb", "kilobit", nullptr},
    {"Kb", "kilobit", nullptr},
    {"Mb", "megabit", nullptr},
    {"Gb", "gigabit", nullptr},
    {"bps", "bit per second", "bits per second"},
    {"kbps", "kilobit per second", "kilobits per second"},
    {"Kbps", "kilobit per second", "kilobits per second"},
    {"Mbps", "megabit per second", "megabits per second"},
    {"Gbps", "gigabit per second", "gigabits per second"},
    {"mph", "mile per hour", "miles per hour"},
    {"kph", "kilometer per hour", "kilometers per hour"},
    {"kmh", "kilometer per hour", "kilometers per hour"},
    {"rpm", "R P M", "R P M"},
    {"fps", "frame per second", "frames per second"},
    {"V", "volt", nullptr},
    {"mV", "millivolt", nullptr},
    {"kV", "kilovolt", nullptr},
    {"W", "watt", nullptr},
    {"mW", "milliwatt", nullptr},
    {"kW", "kilowatt", nullptr},
    {"MW", "megawatt", nullptr},
    {"GW", "gigawatt", nullptr},
    {"Wh", "watt hour", nullptr},
    {"kWh", "kilowatt hour", nullptr},
    {"MWh", "megawatt hour", nullptr},
    {"mA", "milliamp", nullptr},
    {"mAh", "milliamp hour", nullptr},
    {"\x9B", "ohm", nullptr},
    {"k\x9B", "kiloohm", nullptr},
    {"J", "joule", nullptr},
    {"kJ", "kilojoule", nullptr},
    {"cal", "calorie", nullptr},
    {"kcal", "kilocalorie", nullptr},
    {"Pa", "pascal", nullptr},
    {"kPa", "kilopascal", nullptr},
    {"hPa", "hectopascal", nullptr},
    {"MPa", "megapascal", nullptr},
    {"psi", "P S I", "P S I"},
    {"px", "pixel", nullptr},
    {"dpi", "D P I", "D P I"},
    {"%", "percent", "percent"},
    {"\x9A", "per mille", "per mille"},
    {"\x86", "degree", nullptr},
    {"\x86"
     "C",
     "degree celsius", "degrees celsius"},
    {"\x86"
     "F",
     "degree fahrenheit", "degrees fahrenheit"},
    {"sq ft", "square foot", "square feet"},
    {"sq. ft", "square foot", "square feet"},
    {"sq m", "square meter", nullptr},
    {"sq km", "square kilometer", nullptr},
    {"sq mi", "square mile", nullptr},
    {"fl oz", "fluid ounce", nullptr},
    {"cc", "cubic centimeter", nullptr},
};

/// Units that are also words or letters of their own: only right behind the number, or before punctuation.
const char kDoubtful[] = "s h L l us mi cc ha cal min sec gal";

struct Currency {
  char symbol;
  const char *singular, *plural, *cent, *cents;
};

const Currency kCurrencies[] = {
    {'$', "dollar", "dollars", "cent", "cents"},      {kSymEuro, "euro", "euros", "cent", "cents"},
    {kSymPound, "pound", "pounds", "penny", "pence"}, {kSymYen, "yen", "yen", nullptr, nullptr},
    {kSymRupee, "rupee", "rupees", "paisa", "paise"}, {kSymWon, "won", "won", nullptr, nullptr},
    {kSymCent, "cent", "cents", nullptr, nullptr},
};

const struct {
  const char *code, *singular, *plural;
} kCurrencyCodes[] = {{"USD", "U S dollar", "U S dollars"},
                      {"EUR", "euro", "euros"},
                      {"GBP", "british pound", "british pounds"},
                      {"JPY", "yen", "yen"},
                      {"CAD", "canadian dollar", "canadian dollars"},
                      {"AUD", "australian dollar", "australian dollars"},
                      {"CHF", "swiss franc", "swiss francs"},
                      {"CNY", "yuan", "yuan"},
                      {"INR", "rupee", "rupees"}};

const Currency* currency_at(const Scan& scan, int ahead) {
  for (const Currency& currency : kCurrencies) {
    if (scan.is_symbol(ahead, currency.symbol)) return &currency;
  }
  return nullptr;
}

std::string plural_of(const UnitName& unit) { return unit.plural ? unit.plural : std::string(unit.singular) + "s"; }

/// The unit without what is behind '/' or a power.
std::string simple_unit_at(const Scan& scan, int ahead, bool singular, int* tokens) {
  for (int count = 4; count > 0; --count) {
    const std::string_view text = scan.span(ahead, count);
    if (text.empty() || scan.peek(ahead + count - 1).kind == Token::kEnd) continue;
    if (scan.is_word(ahead + count - 1) && scan.is_glued(ahead + count) && scan.is_number(ahead + count)) continue;
    for (const UnitName& unit : kUnits) {
      if (text != unit.symbol) continue;
      *tokens = count;
      return singular ? unit.singular : plural_of(unit);
    }
  }
  return {};
}

/// "three dollars and fifty cents"
std::string money_words(const Currency& currency, const Quantity& amount) {
  const size_t point = amount.digits.find('.');
  if (point == std::string::npos || currency.cent == nullptr || amount.digits.size() - point != 3) {
    return decimal(amount.digits) + ' ' + (amount.is_one() ? currency.singular : currency.plural);
  }
  const std::string whole = amount.digits.substr(0, point), cents = amount.digits.substr(point + 1);
  const std::string cent_words = cardinal(cents) + ' ' + (cents == "01" ? currency.cent : currency.cents);
  if (whole.empty() || small_value(whole) == 0)
    return small_value(cents) == 0 ? std::string("zero ") + currency.plural : cent_words;
  const std::string words = cardinal(whole) + ' ' + (whole == "1" ? currency.singular : currency.plural);
  return small_value(cents) == 0 ? words : words + " and " + cent_words;
}

/// "US" of "US$5", "HK" of "HK$5", read by letters; how many tokens come before the currency sign.
std::string country_before(const Scan& scan) {
  if (scan.is_word(0, "us a c ca au nz hk s") && scan.is_glued(1, '$') && scan.is_number(2)) {
    std::string letters;
    for (char c : scan.peek().text) letters += std::string(1, is_lower(c) ? static_cast<char>(c - 32) : c) + ' ';
    return letters;
  }
  return {};
}

bool read_money_behind(Scan& scan) {  // "5€", "5 USD", "99¢"
  if (!scan.is_number(0)) return false;
  const Quantity amount = quantity_at(scan, 0);
  int scale_tokens = 0;
  const std::string scale = scale_at(scan, amount.tokens, false, &scale_tokens);
  const int next = amount.tokens + scale_tokens;
  if (const Currency* currency = currency_at(scan, next)) {
    if (currency->symbol == '$' || (scan.peek(next).space_before && scan.is_number(next + 1))) return false;
    if (scale.empty()) {
      scan.say(money_words(*currency, amount), next + 1);
    } else {
      scan.say(decimal(amount.digits) + ' ' + scale + ' ' + currency->plural, next + 1);
    }
    return true;
  }
  for (const auto& code : kCurrencyCodes) {
    if (!scan.is_word(next) || scan.peek(next).text != code.code) continue;
    const char* name = amount.is_one() && scale.empty() ? code.singular : code.plural;
    scan.say(decimal(amount.digits) + ' ' + scale + ' ' + name, next + 1);
    return true;
  }
  return false;
}

}  // namespace

std::string unit_at(const Scan& scan, int ahead, bool singular, int* tokens) {
  std::string words = simple_unit_at(scan, ahead, singular, tokens);
  if (words.empty()) return {};
  const bool glued = scan.is_glued(ahead);
  if (!glued && *tokens == 1 && in_list(scan.peek(ahead).text, kDoubtful)) {
    const Token& next = scan.peek(ahead + 1);
    if (next.kind == Token::kWord || next.kind == Token::kNumber) return {};
  }
  int next = ahead + *tokens;
  const char power = scan.is_glued(next) && scan.peek(next).kind == Token::kSymbol ? scan.peek(next).text[0] : ' ';
  if (power == kSymSquared || power == kSymCubed) {
    words = (power == kSymSquared ? "square " : "cubic ") + words;
    ++next;
  }
  int more = 0;
  if (scan.is_glued(next, '/') && scan.is_glued(next + 1)) {
    const std::string below = simple_unit_at(scan, next + 1, true, &more);
    const bool word = below.empty() && scan.is_word(next + 1) && scan.peek(next + 1).text.size() > 2;
    if (!below.empty()) words += " per " + below;
    if (word) words += " per " + lower(scan.peek(next + 1).text);
    if (word) more = 1;
    if (more > 0) next += 1 + more;
    if (more > 0 && scan.is_glued(next, kSymSquared)) {
      words += " squared";
      ++next;
    }
  }
  *tokens = next - ahead;
  return words;
}

std::string scale_at(const Scan& scan, int ahead, bool money, int* tokens) {
  *tokens = 0;
  if (!scan.is_word(ahead)) return {};
  const std::string word = lower(scan.peek(ahead).text);
  if (in_list(word, "hundred thousand million billion trillion quadrillion")) {
    *tokens = 1;
    return word;
  }
  const bool glued = scan.is_glued(ahead) && !(scan.is_glued(ahead + 1) && scan.is_number(ahead + 1)) &&
                     !(scan.is_glued(ahead - 1) && scan.is_word(ahead - 2));  // not B2B
  const std::string_view letter = scan.peek(ahead).text;
  if (!money && !(glued && (letter == "M" || letter == "B" || letter == "k"))) return {};
  static const struct {
    const char *letters, *name;
  } kShort[] = {{"k", "thousand"}, {"m", "million"},  {"mn", "million"}, {"mm", "million"},
                {"b", "billion"},  {"bn", "billion"}, {"t", "trillion"}, {"tn", "trillion"}};
  for (const auto& item : kShort) {
    if (word != item.letters || (word.size() == 1 && !scan.is_glued(ahead))) continue;
    *tokens = 1;
    return item.name;
  }
  return {};
}

bool read_money(Scan& scan) {
  const std::string country = country_before(scan);
  const int first = country.empty() ? 0 : 1;
  const Currency* currency = currency_at(scan, first);
  if (currency == nullptr) return read_money_behind(scan);
  const Quantity amount = quantity_at(scan, first + 1);
  if (amount.tokens == 0) return false;
  int next = first + 1 + amount.tokens, scale_tokens = 0;
  const char* name = currency->plural;

  std::string range;  // "$5-10", "$5-$10"
  const bool dash = scan.is_glued(next, '-') || scan.is_glued(next, kSymEnDash);
  if (dash && (scan.is_glued(next + 1) || scan.is_number(next + 1))) {
    const int sign = currency_at(scan, next + 1) == currency ? 1 : 0;
    const Quantity upper = quantity_at(scan, next + 1 + sign);
    if (upper.tokens > 0) {
      range = decimal(amount.digits) + " to " + decimal(upper.digits) + ' ';
      next += 1 + sign + upper.tokens;
    }
  }
  const std::string scale = scale_at(scan, next, true, &scale_tokens);
  next += scale_tokens;
  std::string words;
  if (!range.empty()) {
    words = range + scale + ' ' + country + name;
  } else if (!scale.empty()) {
    words = decimal(amount.digits) + ' ' + scale + ' ' + country + name;
  } else if (country.empty()) {
    words = money_words(*currency, amount);
  } else {
    words = decimal(amount.digits) + ' ' + country + (amount.is_one() ? currency->singular : name);
  }
  int per_tokens = 0;
  if (scan.is_glued(next, '/') && scan.is_glued(next + 1)) {
    std::string per = unit_at(scan, next + 1, true, &per_tokens);
    if (per.empty() && scan.is_word(next + 1)) {
      per = scan.is_word(next + 1, "mo") ? "month" : lower(scan.peek(next + 1).text);
      per_tokens = 1;
    }
    if (!per.empty()) {
      words += " per " + per;
      next += 1 + per_tokens;
    }
  }
  scan.say(words, next);
  const bool range_follows =
      (scan.is_glued(0, '-') || scan.is_glued(0, kSymEnDash)) && currency_at(scan, 1) == currency;
  if (range_follows) scan.say("to", 1);  // "$20bn-$30bn"
  return true;
}

}  // namespace pocketuni
