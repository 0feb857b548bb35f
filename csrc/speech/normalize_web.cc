// Addresses, file names, hashtags: what people type without spaces.
#include <algorithm>

#include "speech/normalize_numbers.h"
#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

const char kDomains[] =
    "com org net edu gov mil int info biz io ai co uk de fr jp dev app me tv us ca eu ch nl se no es it au nz in br "
    "cn ru pl at be dk fi ie xyz cloud tech online site blog page gg ly fm";
const char kExtensions[] =
    "txt pdf doc docx xls xlsx ppt pptx jpg jpeg png gif svg webp bmp mp3 mp4 wav ogg flac mov avi mkv zip tar gz bz2 "
    "xz 7z rar py js ts jsx tsx cc cpp cxx h hpp c cs rs go java kt swift rb php html htm css json xml yaml yml toml "
    "ini cfg conf md rst csv tsv exe dll so sh bat log db sql ipynb iso apk dmg deb rpm onnx puni";

struct SignName {
  char sign;
  const char* name;
};
const SignName kSigns[] = {{'.', "dot"},        {'/', "slash"}, {'\\', "backslash"}, {'-', "dash"},
                           {'_', "underscore"}, {'@', "at"},    {':', "colon"},      {'?', "question mark"},
                           {'=', "equals"},     {'&', "and"},   {'#', "hash"},       {'%', "percent"},
                           {'~', "tilde"},      {'+', "plus"},  {'*', "star"}};

const char* sign_name(char sign) {
  for (const SignName& item : kSigns) {
    if (item.sign == sign) return item.name;
  }
  return nullptr;
}

/// Tokens of the run of glued tokens that starts here, without the punctuation that ends it.
int address_length(const Scan& scan) {
  int count = scan.glued_count(0);
  for (int i = 1; i < count; ++i) {  // quotes and brackets end an address
    const Token& token = scan.peek(i);
    if (token.kind == Token::kPhones || token.kind == Token::kBreak) count = i;
    if (token.kind == Token::kSymbol &&
        std::string_view("\"'<>()[]{}|\x94\x93\x99").find(token.text[0]) != std::string_view::npos)
      count = i;
  }
  while (count > 1) {
    const Token& last = scan.peek(count - 1);
    if (last.kind != Token::kSymbol || std::string_view(".,;:!?'*_-").find(last.text[0]) == std::string_view::npos)
      break;
    --count;
  }
  return count;
}

/// "http://", "mailto:": tokens of the scheme, which nobody says.
int scheme_length(const Scan& scan, int count) {
  if (count > 4 && scan.is_word(0, "http https ftp file ssh git") && scan.is_symbol(1, ':') && scan.is_symbol(2, '/') &&
      scan.is_symbol(3, '/'))
    return 4;
  return count > 2 && scan.is_word(0, "mailto") && scan.is_symbol(1, ':') ? 2 : 0;
}

bool is_email(const Scan& scan, int count) {
  for (int i = 1; i + 3 < count; ++i) {
    if (scan.is_symbol(i, '@') && (scan.is_word(i + 1) || scan.is_number(i + 1))) {
      return scan.span(i, count - i).find('.') != std::string_view::npos;
    }
  }
  return false;
}

/// "example.com", "example.co.uk/path", "www.x.y": names joined by periods, the last a known domain.
bool is_domain(const Scan& scan, int count) {
  int end = 0;
  while (end < count &&
         (scan.is_word(end) || scan.is_number(end) || scan.is_symbol(end, '.') || scan.is_symbol(end, '-')))
    ++end;
  if (end < 3 || !scan.is_symbol(end - 2, '.') || !scan.is_word(end - 1)) return false;
  if (scan.is_word(0, "www") && scan.is_symbol(1, '.')) return true;
  if (end < count && !scan.is_symbol(end, '/') && !scan.is_symbol(end, ':') && !scan.is_symbol(end, '?')) return false;
  const std::string_view last = scan.peek(end - 1).text, before = scan.peek(end - 3).text;
  if (end == 3 && before.size() == 1 && last.size() == 2) return false;  // "p.m"
  // A sentence end without a space ("it.In") has a capital; a domain mostly not.
  return in_list(last, kDomains) && before.size() > 0 && before != ".";
}

bool is_file_name(const Scan& scan, int count) {
  for (int i = 0; i < count; ++i) {
    const Token& token = scan.peek(i);
    if (token.kind == Token::kSymbol && sign_name(token.text[0]) == nullptr) return false;
    if (token.kind != Token::kSymbol && token.kind != Token::kWord && token.kind != Token::kNumber) return false;
  }
  if (count >= 3 && scan.is_symbol(count - 2, '.') && in_list(lower(scan.peek(count - 1).text), kExtensions))
    return true;
  const bool rooted =
      scan.is_symbol(0, '/') || (scan.is_symbol(0, '~') && scan.is_symbol(1, '/')) ||
      (scan.is_symbol(0, '.') && scan.is_symbol(1, '/')) ||
      (scan.is_word(0) && scan.peek().text.size() == 1 && scan.is_symbol(1, ':') && scan.is_symbol(2, '\\'));
  if (rooted) return count > 2 || (scan.is_symbol(0, '/') && count == 2);
  for (int i = 1; i + 1 < count; ++i) {
    if (scan.is_symbol(i, '_') && (scan.is_word(i - 1) || scan.is_number(i - 1))) return true;  // snake_case
    if (scan.is_symbol(i, '\\')) return true;
  }
  return false;
}

void say_address(Scan& scan, int from, int count) {
  if (scan.is_symbol(count - 1, '/') && count - from > 1) --count;
  for (int i = from; i < count; ++i) {
    const Token& token = scan.peek(i);
    if (token.kind == Token::kWord) {
      scan.say(read_letters(scan, token.text), i, 1);
    } else if (token.kind == Token::kNumber) {
      const bool code = token.text.size() > 4 || token.text[0] == '0';
      scan.say(code ? spell_digits(token.text) : cardinal(token.text), i, 1);
    } else if (const char* name = sign_name(token.text[0])) {
      scan.say(name, i, 1);
    }
  }
}

}  // namespace

bool read_web(Scan& scan) {
  if (scan.is_glued(0)) {
    // Within a run only what an opening quote or bracket sets off may be an address.
    const Token& before = scan.peek(-1);
    if (before.kind != Token::kSymbol || std::string_view("\"'([{<").find(before.text[0]) == std::string_view::npos)
      return false;
  }
  if (scan.is_symbol(0, '#') && scan.is_glued(1) && scan.is_word(1) && scan.peek(1).text.size() > 1) {
    scan.say("hashtag", 0, 1);
    scan.say(read_letters(scan, scan.peek(1).text), 1, 1);
    scan.skip(2);
    return true;
  }
  const int count = address_length(scan);
  if (scan.is_symbol(0, '@') && count > 1 && scan.is_word(1)) {
    say_address(scan, 0, count);
    scan.skip(count);
    return true;
  }
  const int scheme = scheme_length(scan, count);
  if (count < 2 || !(scheme > 0 || is_email(scan, count) || is_domain(scan, count) || is_file_name(scan, count))) {
    return false;
  }
  say_address(scan, scheme, count);
  scan.skip(count);
  return true;
}

}  // namespace pocketuni
