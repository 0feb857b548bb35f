// Single signs: punctuation becomes pauses, the rest is said or skipped.
#include "speech/normalize_numbers.h"
#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

bool is_operand(const Scan& scan, int ahead) {
  return scan.is_number(ahead) || scan.is_word(ahead) || scan.is_symbol(ahead, '(') || scan.is_symbol(ahead, ')');
}

bool is_currency(const Scan& scan, int ahead) {
  return scan.is_glued(ahead) && (scan.is_symbol(ahead, '$') || scan.is_symbol(ahead, kSymEuro) ||
                                  scan.is_symbol(ahead, kSymPound) || scan.is_symbol(ahead, kSymYen));
}

const struct {
  char sign;
  const char* name;
} kNames[] = {{'&', "and"},
              {'@', "at"},
              {'%', "percent"},
              {'+', "plus"},
              {'=', "equals"},
              {'$', "dollars"},
              {'^', "to the power of"},
              {'\\', "backslash"},
              {kSymPound, "pounds"},
              {kSymEuro, "euros"},
              {kSymYen, "yen"},
              {kSymCent, "cents"},
              {kSymRupee, "rupees"},
              {kSymWon, "won"},
              {kSymDegree, "degrees"},
              {kSymMicro, "micro"},
              {kSymTimes, "times"},
              {kSymDivide, "divided by"},
              {kSymPlusMinus, "plus or minus"},
              {kSymApprox, "approximately"},
              {kSymLessEqual, "less than or equal to"},
              {kSymGreaterEqual, "greater than or equal to"},
              {kSymNotEqual, "not equal to"},
              {kSymSection, "section"},
              {kSymCopyright, "copyright"},
              {kSymSquared, "squared"},
              {kSymCubed, "cubed"},
              {kSymRoot, "square root of"},
              {kSymInfinity, "infinity"},
              {kSymArrow, "to"},
              {kSymPerMille, "per mille"},
              {kSymOhm, "ohms"}};

/// Runs of periods, exclamation and question marks are one pause, of the most telling kind.
void read_ending(Scan& scan) {
  int count = 0;
  bool question = false, exclamation = false;
  while (scan.is_symbol(count, '.') || scan.is_symbol(count, '?') || scan.is_symbol(count, '!')) {
    question |= scan.is_symbol(count, '?');
    exclamation |= scan.is_symbol(count, '!');
    ++count;
  }
  const bool inner = count > 1 && !question && !exclamation && scan.peek(count).kind != Token::kEnd;
  scan.pause(question ? '?' : exclamation ? '!' : inner ? ',' : '.');  // an ellipsis within a sentence: a short one
  scan.skip(count);
}

/// The name of a sign between two operands, or null where it is only a mark of layout.
const char* name_between(const Scan& scan, char sign) {
  const bool spaced = scan.peek().space_before && !scan.is_glued(1);
  const bool numbers = scan.is_number(-1) && (scan.is_number(1) || scan.is_symbol(1, '-'));
  const bool operands = is_operand(scan, -1) && is_operand(scan, 1);
  if (sign == '/' && scan.is_word(-1, "and n") && scan.is_word(1, "or a")) return nullptr;  // and/or, N/A
  switch (sign) {
    case '*':
      return numbers ? "times" : nullptr;
    case '/':
      return operands && (scan.is_glued(1) || spaced) ? (numbers && spaced ? "divided by" : "slash") : nullptr;
    case '<':
      return operands && spaced ? "less than" : nullptr;
    case '>':
      return operands && spaced ? "greater than" : nullptr;
    case '#':
      if (scan.is_glued(0) && scan.is_word(-1, "c f")) return "sharp";
      return scan.is_glued(1) && scan.is_number(1) ? "number" : nullptr;
    case '~':
      return scan.is_glued(1) && (scan.is_number(1) || scan.is_symbol(1, '$')) ? "about" : nullptr;
    case '-':
      return (numbers && spaced) || (scan.peek().space_before && is_currency(scan, 1)) ? "minus" : nullptr;
  }
  return nullptr;
}

bool is_dash(const Scan& scan) {
  const Token& next = scan.peek(1);
  if (scan.is_symbol(0, kSymEmDash)) return true;
  if (scan.is_symbol(0, kSymEnDash)) return scan.peek().space_before || next.space_before;
  if (!scan.is_symbol(0, '-')) return false;
  return scan.is_symbol(1, '-') || (scan.peek().space_before && next.space_before);
}

/// "<b>", "</p>", "&amp;": how many tokens of a web page's marks stand here.
int page_mark(const Scan& scan) {
  if (scan.is_symbol(0, '&')) {
    return scan.is_glued(1) && scan.is_word(1, "amp nbsp quot lt gt") && scan.is_glued(2, ';') ? 3 : 0;
  }
  if (!scan.is_symbol(0, '<')) return 0;
  int next = scan.is_glued(1, '/') ? 2 : 1;
  if (!scan.is_glued(next) || !scan.is_word(next)) return 0;
  ++next;
  if (scan.is_glued(next) && scan.is_number(next)) ++next;  // h1
  if (scan.is_symbol(next, '/')) ++next;
  return scan.is_symbol(next, '>') ? next + 1 : 0;
}

}  // namespace

bool read_symbol(Scan& scan) {
  const char sign = scan.peek().text[0];
  if (const int count = page_mark(scan)) {
    if (scan.is_word(1, "amp")) scan.say("and", 0, count);
    scan.skip(count);
    return true;
  }
  if (sign == '.' || sign == '?' || sign == '!') {
    // "word.word" has no pause, "word. Word" has.
    if (sign == '.' && scan.is_glued(0) && scan.is_glued(1) && (scan.is_word(1) || scan.is_number(1))) {
      scan.say(scan.is_word(-1) && scan.peek(1).text.size() > 0 && is_upper(scan.peek(1).text[0]) ? "," : "dot", 1);
      return true;
    }
    if (sign == '.' && scan.peek().space_before && scan.is_glued(1) && scan.is_word(1)) {  // .NET
      scan.say("dot", 1);
      return true;
    }
    read_ending(scan);
    return true;
  }
  if (sign == '^' && scan.is_glued(1) && scan.is_number(1)) {  // x^2
    const std::string_view power = scan.peek(1).text;
    scan.say(power == "2" ? "squared" : power == "3" ? "cubed" : "to the " + ordinal(power), 2);
    return true;
  }
  if (sign == ',') {
    scan.pause(',');
  } else if (is_dash(scan) && name_between(scan, sign) == nullptr) {
    scan.pause('-');
    while (scan.is_symbol(1, '-')) scan.skip(1);
  } else if (sign == ';' || sign == ':' || sign == '(' || sign == ')' || sign == '[' || sign == ']' ||
             sign == kSymBullet) {
    scan.pause('-');
  } else if (const char* between = name_between(scan, sign)) {
    scan.say(between, 0, 1);
  } else {
    for (const auto& item : kNames) {
      if (item.sign == sign) scan.say(item.name, 0, 1);
    }
  }
  scan.skip(1);
  return true;
}

}  // namespace pocketuni
