// Dates, times of day and telephone numbers.
#include "speech/normalize_numbers.h"
#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

const char* const kMonths[] = {"january", "february", "march",     "april",   "may",      "june",
                               "july",    "august",   "september", "october", "november", "december"};

struct Date {
  std::string year;
  int month, day;
};

bool is_valid(const Date& date) { return date.month >= 1 && date.month <= 12 && date.day >= 1 && date.day <= 31; }

std::string date_words(const Date& date) {
  const std::string words = std::string(kMonths[date.month - 1]) + ' ' + ordinal(std::to_string(date.day));
  return date.year.empty() ? words : words + ' ' + year(date.year);
}

/// "2024-05-17", "17/05/2024", "5/17/2024", "17.05.2024": three numbers with one separator.
bool read_numeric_date(Scan& scan) {
  if (!scan.is_number(0) || !scan.is_number(2) || !scan.is_number(4) || scan.glued_count(0) < 5) return false;
  const std::string_view separator = scan.peek(1).text;
  if (separator != scan.peek(3).text || (separator != "-" && separator != "/" && separator != ".")) return false;
  if (scan.is_glued(5) && (scan.is_symbol(5, separator[0]) && scan.is_number(6))) return false;
  const std::string_view a = scan.peek(0).text, b = scan.peek(2).text, c = scan.peek(4).text;
  Date date;
  if (a.size() == 4 && b.size() == 2 && c.size() == 2 && separator != ".") {
    date = {std::string(a), static_cast<int>(small_value(b)), static_cast<int>(small_value(c))};
  } else if (a.size() <= 2 && b.size() <= 2 && (c.size() == 4 || (c.size() == 2 && separator == "/"))) {
    const int first = static_cast<int>(small_value(a)), second = static_cast<int>(small_value(b));
    const bool day_first = first > 12 || separator == ".";
    const std::string full = c.size() == 4 ? std::string(c) : (small_value(c) < 50 ? "20" : "19") + std::string(c);
    date = {full, day_first ? second : first, day_first ? first : second};
  } else {
    return false;
  }
  if (!is_valid(date)) return false;
  scan.say(date_words(date), 5);
  if (scan.is_word(0, "t") && scan.is_glued(0) && scan.is_number(1)) scan.skip(1);  // 2024-05-17T10:30
  return true;
}

/// A year of four digits behind a date: optional comma, then the number. How many tokens, 0 if there is none.
int year_behind(const Scan& scan, int ahead) {
  const int comma = scan.is_symbol(ahead, ',') ? 1 : 0;
  const Token& number = scan.peek(ahead + comma);
  if (number.kind != Token::kNumber || number.text.size() != 4 || !number.space_before) return 0;
  if (scan.is_glued(ahead + comma + 1) && scan.is_number(ahead + comma + 2)) return 0;
  return 1 + comma;
}

int day_at(const Scan& scan, int ahead, int* tokens) {
  const long day = scan.is_number(ahead) && scan.peek(ahead).text.size() <= 2 ? small_value(scan.peek(ahead).text) : 0;
  if (day < 1 || day > 31) return 0;
  *tokens = 1;
  if (scan.is_glued(ahead + 1) && scan.is_word(ahead + 1, "st nd rd th")) *tokens = 2;
  const Token& next = scan.peek(ahead + *tokens);
  if (next.kind != Token::kEnd && !next.space_before && *tokens == 1) {
    if (scan.is_word(ahead + 1) || scan.is_symbol(ahead + 1, ':') || scan.is_symbol(ahead + 1, '%')) return 0;
    if (scan.is_glued(ahead + 2) && scan.is_number(ahead + 2) && !scan.is_symbol(ahead + 1, '-') &&
        !scan.is_symbol(ahead + 1, kSymEnDash))
      return 0;
  }
  return static_cast<int>(day);
}

/// "May 17th, 2024", "Jan. 5", "December 2019"
bool read_month_first(Scan& scan) {
  int month_tokens = 0, day_tokens = 0;
  const int month = month_at(scan, 0, &month_tokens);
  if (month == 0 || !is_upper(scan.peek().text[0])) return false;
  const int day = day_at(scan, month_tokens, &day_tokens);
  if (day == 0) {
    const Token& number = scan.peek(month_tokens);
    if (number.kind != Token::kNumber || number.text.size() != 4) return false;
    scan.say(std::string(kMonths[month - 1]) + ' ' + year(number.text), month_tokens + 1);
    return true;
  }
  scan.say(kMonths[month - 1], month_tokens);
  scan.say(ordinal(std::to_string(day)), day_tokens);
  if (scan.is_glued(0, '-') || scan.is_glued(0, kSymEnDash)) {  // May 3-5
    int upper_tokens = 0;
    if (const int upper = day_at(scan, 1, &upper_tokens)) {
      scan.say("to " + ordinal(std::to_string(upper)), 1 + upper_tokens);
    }
  }
  const int count = year_behind(scan, 0);
  if (count == 2) scan.pause(',');
  if (count > 0) scan.say(year(scan.peek(count - 1).text), count);
  return true;
}

/// "17 May 2024", "the 4th of July" needs no rule.
bool read_day_first(Scan& scan) {
  int day_tokens = 0, month_tokens = 0;
  const int day = day_at(scan, 0, &day_tokens);
  const int month = day > 0 ? month_at(scan, day_tokens, &month_tokens) : 0;
  if (month == 0 || !is_upper(scan.peek(day_tokens).text[0]) || scan.is_glued(day_tokens)) return false;
  const bool article = scan.is_word(-1, "the");
  scan.say((article ? "" : "the ") + ordinal(std::to_string(day)) + " of", day_tokens);
  scan.say(kMonths[month - 1], month_tokens);
  if (const int count = year_behind(scan, 0)) scan.say(year(scan.peek(count - 1).text), count);
  return true;
}

/// "am", "p.m." at `ahead`: "A M", "P M", and its tokens.
std::string half_of_day(const Scan& scan, int ahead, int* tokens) {
  const auto letters = [&](char c) { return std::string(1, c == 'a' || c == 'A' ? 'A' : 'P') + " M"; };
  if (scan.is_word(ahead, "am pm")) {
    *tokens = 1;
    return letters(scan.peek(ahead).text[0]);
  }
  if (scan.is_word(ahead, "a p") && scan.is_glued(ahead + 1, '.') && scan.is_word(ahead + 2, "m") &&
      scan.is_glued(ahead + 2)) {
    // A period that ends the sentence as well stays a period.
    *tokens = scan.is_glued(ahead + 3, '.') && scan.peek(ahead + 4).kind != Token::kEnd ? 4 : 3;
    return letters(scan.peek(ahead).text[0]);
  }
  return {};
}

std::string clock_words(long hour, std::string_view minutes, bool half_known) {
  const std::string hours = cardinal(std::to_string(hour));
  const long minute = small_value(minutes);
  if (minute == 0) {
    if (half_known) return hours;
    return hour == 0 ? "zero hundred" : hour > 12 ? hours + " hundred" : hours + " o'clock";
  }
  return hours + (minute < 10 ? " oh " : " ") + cardinal(std::to_string(minute));
}

/// Digits one by one, a short pause between groups.
void say_number_groups(Scan& scan, int count) {
  std::string words;
  for (int i = 0; i < count; ++i) {
    if (scan.is_symbol(i, '+')) words += "plus ";
    if (!scan.is_number(i)) continue;
    if (!words.empty() && words != "plus ") words += " , ";
    words += spell_digits(scan.peek(i).text);
  }
  scan.say(words, count);
}

}  // namespace

int month_at(const Scan& scan, int ahead, int* tokens) {
  *tokens = 1;
  if (!scan.is_word(ahead)) return 0;
  const std::string word = lower(scan.peek(ahead).text);
  for (int month = 0; month < 12; ++month) {
    const std::string_view name = kMonths[month];
    if (word == name) return month + 1;
    const bool shortened = (word == name.substr(0, 3)) || (month == 8 && word == "sept");
    if (!shortened) continue;
    if (scan.is_glued(ahead + 1, '.')) *tokens = 2;
    return month + 1;
  }
  return 0;
}

bool read_date(Scan& scan) { return read_numeric_date(scan) || read_month_first(scan) || read_day_first(scan); }

bool read_time(Scan& scan) {
  if (!scan.is_number(0) || scan.peek().text.size() > 2) return false;
  const long hour = small_value(scan.peek().text);
  int half_tokens = 0;
  if (scan.is_glued(1, ':') && scan.is_number(2) && scan.is_glued(2) && scan.peek(2).text.size() == 2) {
    const std::string_view minutes = scan.peek(2).text;
    if (hour > 24 || small_value(minutes) > 59) return false;
    const bool seconds =
        scan.is_glued(3, ':') && scan.is_number(4) && scan.is_glued(4) && scan.peek(4).text.size() == 2;
    const int clock = seconds ? 5 : 3;
    const std::string half = half_of_day(scan, clock, &half_tokens);
    std::string words = clock_words(hour, minutes, !half.empty() || seconds);
    if (seconds) words += " and " + cardinal(scan.peek(4).text) + (scan.peek(4).text == "01" ? " second" : " seconds");
    scan.say(words + ' ' + half, clock + half_tokens);
    return true;
  }
  if (scan.is_glued(1, ':') && scan.is_number(2) && scan.is_glued(2) && !scan.is_glued(3, ':')) {  // 16:9
    scan.say(cardinal(scan.peek().text) + " to " + cardinal(scan.peek(2).text), 3);
    return true;
  }
  const std::string half = hour >= 1 && hour <= 12 ? half_of_day(scan, 1, &half_tokens) : "";
  if (half.empty()) return false;
  scan.say(cardinal(std::to_string(hour)) + ' ' + half, 1 + half_tokens);
  return true;
}

bool read_phone(Scan& scan) {
  const int plus = scan.is_symbol(0, '+') && scan.is_glued(1) && scan.is_number(1) ? 1 : 0;
  int count = plus, groups = 0;
  size_t digits = 0, last_group = 0;
  bool bracket = false, hyphens = true;
  while (true) {
    if (scan.is_number(count)) {
      if (scan.is_glued(count + 1) && scan.is_word(count + 1)) return false;
      last_group = scan.peek(count).text.size();
      digits += last_group;
      ++groups;
      ++count;
    } else if (scan.is_symbol(count, '(') && scan.is_number(count + 1) && scan.is_glued(count + 2, ')')) {
      bracket = true;
      digits += scan.peek(count + 1).text.size();
      ++groups;
      count += 3;
    } else {
      break;
    }
    const bool joined = scan.is_glued(count, '-') && scan.is_number(count + 1) && scan.is_glued(count + 1);
    const bool spaced = (plus || bracket) && (scan.is_number(count) || scan.is_symbol(count, '('));
    if (joined) ++count;
    hyphens &= joined || !spaced;
    if (!joined && !spaced) break;
  }
  const bool national = groups >= 3 && digits >= 10 && last_group == 4;       // 555-123-4567, (555) 123-4567
  const bool local = groups == 2 && digits == 7 && last_group == 4 && !plus;  // 555-1234
  const bool international = plus && digits >= 8 && digits <= 15;
  const bool code = groups >= 4 && hyphens && !plus && !bracket;  // an ISBN, a card
  if (!national && !local && !international && !code) return false;
  say_number_groups(scan, count);
  return true;
}

}  // namespace pocketuni
