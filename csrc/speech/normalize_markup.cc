// What is written for the front end, not for people: [[phones]] and <break time="300ms"/>.
#include <cstdlib>

#include "base/error.h"
#include "format/reader.h"
#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

[[noreturn]] void fail_break(std::string_view tag) {
  fail_argument(quoted(tag) +
                " is not a pause; expected <break time=\"300ms\"/> or <break time=\"1.5s\"/>, at most 10 s");
}

/// Milliseconds of "300ms" or "1.5s". Own parsing: strtod depends on the locale.
double parse_time(std::string_view tag, std::string_view text) {
  double value = 0, place = 1;
  size_t at = 0;
  bool point = false, digits = false;
  for (; at < text.size() && at < 12 && (is_digit(text[at]) || (text[at] == '.' && !point)); ++at) {
    if (text[at] == '.') {
      point = true;
      continue;
    }
    digits = true;
    if (point) place /= 10;
    value = point ? value + place * (text[at] - '0') : value * 10 + (text[at] - '0');
  }
  const std::string_view unit = text.substr(at);
  if (!digits || (unit != "ms" && unit != "s")) fail_break(tag);
  const double milliseconds = unit == "s" ? value * 1000 : value;
  if (milliseconds > kMaxBreakMs) fail_break(tag);
  return milliseconds;
}

double break_time(std::string_view tag) {
  const size_t name = tag.find("time");
  if (name == std::string_view::npos) return 300;  // <break/>
  const size_t open = tag.find_first_of("\"'", name);
  if (open == std::string_view::npos) fail_break(tag);
  const size_t close = tag.find(tag[open], open + 1);
  if (close == std::string_view::npos) fail_break(tag);
  return parse_time(tag, tag.substr(open + 1, close - open - 1));
}

}  // namespace

bool read_markup(Scan& scan) {
  const Token& token = scan.peek();
  if (token.kind == Token::kPhones) {
    scan.put(
        {Spoken::kPhones, std::string(token.text.substr(2, token.text.size() - 4)), scan.begin_of(0), scan.end_of(0)});
  } else if (token.kind == Token::kBreak) {
    scan.put({Spoken::kBreak, "", scan.begin_of(0), scan.end_of(0), break_time(token.text)});
  } else {
    return false;
  }
  scan.skip(1);
  return true;
}

}  // namespace pocketuni
