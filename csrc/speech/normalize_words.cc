// Words: abbreviations, Roman numerals, capitals, names in camelCase.
#include <algorithm>

#include "speech/normalize_numbers.h"
#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

enum When : uint8_t { kAlways, kBeforeName, kBeforeNumber, kCapital, kAfterName };

struct Abbreviation {
  const char *text, *words;
  When when;
  bool bare;  // without its period too
};

const Abbreviation kAbbreviations[] = {
    {"mr", "mister", kAlways, true},
    {"mrs", "missus", kAlways, true},
    {"ms", "miz", kBeforeName, true},
    {"dr", "doctor", kBeforeName, true},
    {"dr", "drive", kAfterName, false},
    {"prof", "professor", kBeforeName, true},
    {"st", "saint", kBeforeName, true},
    {"st", "street", kAlways, false},
    {"mt", "mount", kBeforeName, true},
    {"ft", "fort", kBeforeName, true},
    {"gen", "general", kBeforeName, false},
    {"sen", "senator", kBeforeName, false},
    {"rep", "representative", kBeforeName, false},
    {"gov", "governor", kBeforeName, false},
    {"capt", "captain", kBeforeName, true},
    {"cmdr", "commander", kBeforeName, true},
    {"lt", "lieutenant", kBeforeName, true},
    {"col", "colonel", kBeforeName, false},
    {"sgt", "sergeant", kBeforeName, true},
    {"maj", "major", kBeforeName, false},
    {"rev", "reverend", kBeforeName, false},
    {"hon", "honorable", kBeforeName, false},
    {"pres", "president", kBeforeName, false},
    {"jr", "junior", kAlways, true},
    {"sr", "senior", kAfterName, true},
    {"inc", "incorporated", kAlways, false},
    {"ltd", "limited", kAlways, true},
    {"corp", "corporation", kAlways, false},
    {"co", "company", kAfterName, false},
    {"bros", "brothers", kAlways, true},
    {"ave", "avenue", kAlways, false},
    {"blvd", "boulevard", kAlways, true},
    {"rd", "road", kAfterName, true},
    {"ln", "lane", kAfterName, false},
    {"hwy", "highway", kAlways, true},
    {"apt", "apartment", kBeforeNumber, true},
    {"dept", "department", kAlways, true},
    {"univ", "university", kAlways, false},
    {"assn", "association", kAlways, false},
    {"approx", "approximately", kAlways, true},
    {"vs", "versus", kAlways, true},
    {"v", "versus", kAfterName, false},
    {"etc", "et cetera", kAlways, true},
    {"cf", "compare", kAlways, false},
    {"viz", "namely", kAlways, false},
    {"ca", "circa", kBeforeNumber, false},
    {"c", "circa", kBeforeNumber, false},
    {"no", "number", kBeforeNumber, false},
    {"nos", "numbers", kBeforeNumber, false},
    {"fig", "figure", kBeforeNumber, false},
    {"figs", "figures", kBeforeNumber, false},
    {"vol", "volume", kBeforeNumber, true},
    {"vols", "volumes", kBeforeNumber, false},
    {"pp", "pages", kBeforeNumber, true},
    {"p", "page", kBeforeNumber, false},
    {"pg", "page", kBeforeNumber, true},
    {"ch", "chapter", kBeforeNumber, false},
    {"sec", "section", kBeforeNumber, false},
    {"art", "article", kBeforeNumber, false},
    {"eq", "equation", kBeforeNumber, false},
    {"ver", "version", kBeforeNumber, true},
    {"mon", "monday", kCapital, false},
    {"tue", "tuesday", kCapital, false},
    {"tues", "tuesday", kCapital, false},
    {"wed", "wednesday", kCapital, false},
    {"thu", "thursday", kCapital, false},
    {"thur", "thursday", kCapital, false},
    {"thurs", "thursday", kCapital, false},
    {"fri", "friday", kCapital, false},
    {"sat", "saturday", kCapital, false},
    {"sun", "sunday", kCapital, false},
    {"est", "established", kBeforeNumber, false},
    {"esq", "esquire", kAlways, false},
    {"incl", "including", kAlways, false},
    {"govt", "government", kAlways, true},
    {"w/o", "without", kAlways, true},
};

const char* const kMonthNames[] = {"january", "february", "march",     "april",   "may",      "june",
                                   "july",    "august",   "september", "october", "november", "december"};

const char kLetterNouns[] =
    "vitamin plan grade section class type option part group hepatitis team exhibit appendix figure table step point "
    "letter model drive hall building gate platform terminal row seat unit room";

const char kNumbered[] =
    "chapter part volume vol book act scene section war article phase stage type class level grade title appendix "
    "figure table episode season round bowl mark version apollo rocky fantasy saturn factor psalm canto";

const char kMonarchs[] =
    "henry louis charles james george edward richard william elizabeth mary john paul pius benedict francis philip "
    "napoleon alexander nicholas catherine peter frederick wilhelm leo gregory innocent clement urban ferdinand ivan "
    "otto victor ramses ptolemy cleopatra gustav christian carl haakon olav albert alfonso pedro joseph leopold rudolf "
    "maximilian margaret anne robert malcolm constantine justinian theodosius darius xerxes thutmose amenhotep "
    "boniface celestine honorius sixtus julius adrian stephen david umberto emmanuel baldwin edmund harald canute";

const char kRulers[] = "king queen pope emperor empress tsar czar sultan prince duke";

bool is_name(const Scan& scan, int ahead) { return scan.is_word(ahead) && is_upper(scan.peek(ahead).text[0]); }

bool applies(const Scan& scan, const Abbreviation& item, int next) {
  switch (item.when) {
    case kAlways:
      return true;
    case kBeforeName:
      return is_name(scan, next) && !(scan.is_number(-1) && !scan.is_word(0, "dr mr mrs ms"));
    case kBeforeNumber:
      return scan.is_number(next) || (scan.is_word(next) && roman_value(scan.peek(next).text) > 0);
    case kCapital:
      return is_upper(scan.peek().text[0]) && scan.peek(next).kind != Token::kEnd;
    case kAfterName:
      return (is_name(scan, -1) || scan.is_number(-1) || scan.is_symbol(-1, '&') || scan.is_symbol(-1, '.')) &&
             !scan.is_glued(0);
  }
  return false;
}

/// "U.S.", "e.g.", "Ph.D.": letters behind each of which stands a period.
bool read_initials(Scan& scan) {
  int count = 0, letters = 0;
  std::string words, plain;
  while (scan.is_word(count) && scan.is_glued(count + 1, '.') && (count == 0 || scan.is_glued(count))) {
    const std::string_view text = scan.peek(count).text;
    if (text.size() > 2 || (text.size() == 2 && !(text == "Ph" || text == "Sc" || text == "Ed" || text == "th"))) break;
    for (char c : text) {
      words += std::string(1, is_lower(c) ? static_cast<char>(c - 32) : c) + ' ';
      plain += to_lower(c);
      ++letters;
    }
    count += 2;
  }
  // "Ph.D" without the last period
  if (count >= 2 && scan.is_glued(count) && scan.is_word(count) && scan.peek(count).text.size() == 1 &&
      !scan.is_glued(count + 1, '\'')) {
    const char c = scan.peek(count).text[0];
    words += is_lower(c) ? static_cast<char>(c - 32) : c;
    plain += to_lower(c);
    ++letters;
    ++count;
  }
  if (letters < 2) {
    // "J. Smith", "J. R. R. Tolkien"
    const bool initial = count == 2 && is_upper(scan.peek().text[0]) && is_name(scan, 2);
    if (!initial) return false;
  }
  const bool ends = scan.peek(count).kind == Token::kEnd && scan.is_symbol(count - 1, '.');
  if (ends) --count;  // the period that ends the sentence as well
  if (plain == "eg") words = "for example";
  if (plain == "ie") words = "that is";
  scan.say(words, count);
  if (scan.is_glued(0, '\'') && scan.is_word(1, "s") && scan.is_glued(1)) scan.say("'s", 2);  // "U.S.'s"
  return true;
}

/// "iPhone", "camelCase", "HTMLParser": where the next part starts.
size_t part_end(std::string_view text, size_t start) {
  size_t end = start + 1;
  while (end < text.size()) {
    const bool rise = is_lower(text[end - 1]) && is_upper(text[end]);
    const bool fall =
        end + 1 < text.size() && is_upper(text[end - 1]) && is_upper(text[end]) && is_lower(text[end + 1]);
    if (rise || fall) break;
    ++end;
  }
  return end;
}

bool has_vowel(std::string_view word) { return word.find_first_of("aeiouyAEIOUY") != std::string_view::npos; }

std::string spell(std::string_view text) {
  std::string words;
  for (char c : text) {
    if (!is_letter(c)) continue;
    if (!words.empty()) words += ' ';
    words += is_lower(c) ? static_cast<char>(c - 32) : c;
  }
  return words;
}

// Initialisms that a dictionary also has as words or names.
const char kInitialisms[] =
    "fbi usa us uk eu un ai ml ip it id tv pc vr ar pr hr vp os ui ux ok api cpu gpu url sql css irs imf atm ceo cfo "
    "cto coo dna "
    "rna mri nba nfl mlb nhl mit ibm amd aws sdk ide usb lcd led ssd hdd gps sms pdf xml ftp ssh vpn dns tcp udp nlp "
    "llm gpt iot dvd cd cia nsa epa fda cdc nih faa fcc sec doj gop wto gdp kgb uae bmw gm ge hp lg mba rsvp eta faq "
    "diy asap hiv std ufo vip pto roi kpi cad csv png svg mp bbc cnn abc nbc cbs pbs npr mtv hbo espn nyc la sf dc ny "
    "ma pa md va ph pm am ad bc ce bce er icu iq eq ot ap ib sat act gre ged cpa cpr emt ems ira apr fha hoa aka cv";
// Capitals that are said as words.
const char kAcronyms[] =
    "nasa nato unesco unicef opec aids laser radar sonar scuba ram rom pin sim gif jpeg ascii ikea fifa uefa nafta "
    "naacp osha fema swat navy army nasdaq wasp yolo lidar covid sars mers ebitda tesol toefl json yaml ajax cern esa "
    "cobol fortran basic lisp bios captcha pi who";

bool caps_are_word(const Scan& scan, const std::string& word) {
  if (scan.shouting() && scan.known(word)) return true;
  if (word == "naacp") return false;
  if (word == "it")
    return !scan.is_word(-1, "an the") &&
           !scan.is_word(1,
                         "department support team staff manager "
                         "specialist industry professional professionals infrastructure security "
                         "services sector");
  if (word == "who") return !scan.is_word(-1, "the");
  if (in_list(word, kInitialisms)) return false;
  if (in_list(word, kAcronyms)) return true;
  if (!has_vowel(word)) return false;
  return word.size() >= 6 || scan.known(word);
}

/// One part of a name, without inner capitals.
std::string read_part(const Scan& scan, std::string_view text, bool alone) {
  const std::string word = lower(text);
  if (text.size() == 1) return spell(text);
  if (std::none_of(text.begin(), text.end(), is_lower)) return caps_are_word(scan, word) ? word : spell(text);
  if (alone || scan.known(word)) return has_vowel(word) || scan.known(word) || word.size() > 5 ? word : spell(word);
  return has_vowel(word) && word.size() >= 3 ? word : spell(word);
}

bool is_article(const Scan& scan) {
  const Token& next = scan.peek(1);
  if (next.kind == Token::kEnd || !next.space_before || scan.is_glued(0))
    return next.kind == Token::kWord && !scan.is_glued(0) && scan.is_word(0, "a");
  if (scan.is_word(-1, kLetterNouns)) return false;
  return next.kind == Token::kWord || next.kind == Token::kNumber || scan.is_symbol(1, '"') ||
         scan.is_symbol(1, '\'') || scan.is_symbol(1, '$');
}

}  // namespace

bool read_abbreviation(Scan& scan) {
  if (!scan.is_word(0)) return false;
  if (read_initials(scan)) return true;
  const std::string word = lower(scan.peek().text);
  const bool period = scan.is_glued(1, '.');
  const bool ends = period && scan.peek(2).kind == Token::kEnd;
  const int next = period ? 2 : 1;
  if (word == "w" && scan.is_glued(1, '/')) {
    const bool without = scan.is_glued(2) && scan.is_word(2, "o");
    scan.say(without ? "without" : "with", without ? 3 : 2);
    return true;
  }
  for (const Abbreviation& item : kAbbreviations) {
    if (word != item.text || (!period && !item.bare) || !applies(scan, item, next)) continue;
    // Without a period only a title before a name, and only as people write it.
    if (!period && item.when == kBeforeName && !is_upper(scan.peek().text[0])) continue;
    if (scan.is_glued(next) && scan.is_word(next)) continue;
    scan.say(item.words, period && !ends ? 2 : 1);
    return true;
  }
  int tokens = 0;
  const int month = month_at(scan, 0, &tokens);
  if (month > 0 && tokens == 2 && !ends && is_upper(scan.peek().text[0])) {
    scan.say(kMonthNames[month - 1], 2);
    return true;
  }
  return false;
}

bool read_roman(Scan& scan) {
  if (!scan.is_word(0)) return false;
  std::string_view text = scan.peek().text;
  bool possessive = false;
  if (text.size() > 2 && text.substr(text.size() - 2) == "'s") {
    text.remove_suffix(2);
    possessive = true;
  }
  const int value = roman_value(text);
  if (value == 0 || !scan.is_word(-1)) return false;
  const std::string digits = std::to_string(value);
  const std::string tail = possessive ? "'s" : "";
  const bool name = is_name(scan, -1), weak = text == "I" || text == "C" || text == "D" || text == "M" || text == "L";
  if (scan.is_word(-1, kNumbered) && (text.size() > 1 || text == "V" || text == "X" || text == "I") && value < 200) {
    const bool pronoun = text == "I" && scan.is_word(1, "had have was am did would could should will saw went");
    if (pronoun || (text == "I" && !name)) return false;
    scan.say(cardinal(digits) + tail, 1);
    return true;
  }
  if (scan.is_word(-1, kMonarchs) && name && (!weak || text == "I") && value < 40) {
    const bool ruler = scan.is_word(-2, kRulers) || scan.is_word(1, "of and") || scan.is_symbol(1, ',') || possessive;
    if (text == "I" && !ruler) return false;
    scan.say("the " + ordinal(digits) + tail, 1);
    return true;
  }
  const bool only_ivx = text.find_first_not_of("IVX") == std::string_view::npos;
  if (text.size() < 2 || !only_ivx || !name || scan.shouting() || value > 39) return false;
  scan.say(cardinal(digits) + tail, 1);
  return true;
}

std::string read_letters(const Scan& scan, std::string_view text) {
  const std::string whole = lower(text);
  if (part_end(text, 0) < text.size() && scan.known(whole)) return whole;
  std::string words;
  for (size_t start = 0; start < text.size();) {
    const size_t end = part_end(text, start);
    if (!words.empty()) words += ' ';
    words += read_part(scan, text.substr(start, end - start), false);
    start = end;
  }
  return words;
}

bool read_word(Scan& scan) {
  if (!scan.is_word(0)) return false;
  std::string_view text = scan.peek().text;
  if (text.size() == 1) {
    const char c = text[0];
    const bool word = c == 'I' || c == 'i' || ((c == 'A' || c == 'a') && is_article(scan));
    scan.say(word ? lower(text) : spell(text), 1);
    return true;
  }
  std::string suffix;
  const size_t apostrophe = text.find('\'');
  if (apostrophe != std::string_view::npos) {
    const std::string_view tail = text.substr(apostrophe);
    if (tail != "'s" && tail != "'S") {  // don't, O'Brien
      scan.say(lower(text), 1);
      return true;
    }
    suffix = "'s";
    text.remove_suffix(2);
  }
  // "CDs", "URLs": letters and a plural
  if (text.size() >= 3 && text.back() == 's' && std::all_of(text.begin(), text.end() - 1, is_upper) && suffix.empty()) {
    suffix = "'s";
    text.remove_suffix(1);
  }
  const bool prefixed =
      text.size() > 4 && (text.substr(0, 2) == "Mc" || (text.substr(0, 3) == "Mac" && is_upper(text[3])));
  if (text == "PhD" || text == "pH") {
    scan.say(spell(text) + suffix, 1);
  } else if (prefixed || part_end(text, 0) == text.size()) {
    const bool caps = std::none_of(text.begin(), text.end(), is_lower);
    const bool joined = scan.is_glued(1, '&') || (scan.is_glued(0) && scan.is_symbol(-1, '&'));
    if (caps && text.size() <= 3 && (joined || (text.size() == 2 && scan.is_glued(1) && scan.is_number(1)))) {
      scan.say(spell(text) + suffix, 1);  // AT&T, BA2490
      return true;
    }
    scan.say((prefixed && !caps ? lower(text) : read_part(scan, text, true)) + suffix, 1);
  } else {
    scan.say(read_letters(scan, text) + suffix, 1);
  }
  return true;
}

}  // namespace pocketuni
