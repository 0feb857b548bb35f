#include "speech/sentences.h"

#include <algorithm>
#include <utility>

namespace pocketuni {
namespace {

constexpr size_t kShortLine = 50;      // a line of a heading, a list or a verse, not of wrapped prose
constexpr size_t kMarkupLength = 300;  // "[[...]]" and "<break .../>" are not cut up to this length

// A period after these never ends a sentence.
const char kTitles[] =
    "dr mr mrs ms mx prof gen sen rep gov capt cpt cmdr lt col sgt maj adm rev hon pres supt messrs mme mlle mt ft st "
    "vs v cf viz e.g i.e approx est ca dept univ assn bros al";
// ... these only when a number follows.
const char kBeforeNumber[] =
    "no nos fig figs vol vols pp p pg ch chap sec art eq jan feb mar apr jun jul aug sept sep oct nov dec ver op";
// ... these where the next word looks like the start of a sentence.
const char kMayEnd[] =
    "jr sr inc ltd co corp llc ave blvd rd ln hwy pkwy apt ste bldg oz lb lbs in hr hrs min sec yr yrs mon tue tues "
    "wed "
    "thu thur thurs fri sat sun esq ph.d m.d b.a m.a b.sc m.sc a.m p.m a.d b.c u.s u.k u.n";
const char kStarters[] =
    "a about according after all although an and another any are as at because before but by can could did do does "
    "each even every few first for from had has have he her here his how however i if in is it its just last later "
    "let like many maybe more most my new next no not now of on once one only or other our over people perhaps please "
    "she since so some soon still such than that the their then there these they this those though through thus to "
    "today under until up was we were what when where which while who why will with within without would yes yet you "
    "your";

bool is_terminal(char c) { return c == '.' || c == '?' || c == '!'; }
bool is_space(char c) { return c == ' ' || c == '\n' || c == '\f'; }
bool is_closer(char c) { return c == '"' || c == '\'' || c == ')' || c == ']' || c == '}' || c == '*' || c == '_'; }
bool is_clause_end(char c) {
  return c == ',' || c == ';' || c == ':' || c == kSymEmDash || c == kSymEnDash || c == '-';
}
bool is_bullet(char c) { return c == '*' || c == '#' || c == '-' || c == '+' || c == kSymBullet; }

/// Where the word (letters, digits, inner periods) that ends before `end` starts.
size_t word_start(const std::string& text, size_t end) {
  size_t start = end;
  while (start > 0 && (is_letter(text[start - 1]) || is_digit(text[start - 1]) || text[start - 1] == '.')) --start;
  return start;
}

bool is_number(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char c) { return is_digit(c) || c == '.'; });
}

/// "J", "U.S", "Ph.D": letters that a period shortens.
bool is_initials(std::string_view word) {
  return (word.size() == 1 && is_upper(word[0])) || word.find('.') != std::string_view::npos;
}

bool is_speakable(const std::string& text) {
  return text.find_first_not_of(" \n\f.,!?-'\"()[]{}*_:;|/\\~^\x92\x93\x94") != std::string::npos;
}

}  // namespace

void SentenceSplitter::push(std::string_view text) {
  if (consumed_ > 65536 && consumed_ > bytes_.size() / 2) {
    bytes_.erase(0, consumed_);
    consumed_ = 0;
  }
  bytes_.append(text);
  finished_ = false;
}

void SentenceSplitter::finish() { finished_ = true; }

std::optional<Sentence> SentenceSplitter::next() {
  while (read_char()) {
    std::optional<Sentence> sentence = take_char();
    if (sentence && is_speakable(sentence->text.text)) return sentence;
  }
  if (!finished_ || folded_.size() == 0) return std::nullopt;
  Sentence sentence = take(folded_.size());
  marks_.newlines = 2;
  if (is_speakable(sentence.text.text)) return sentence;
  return std::nullopt;
}

/// Moves incoming_[read_] into the sentence; gives the sentence when the char ends it. When memory runs out everything
/// is as before, so that the next call reads on without a gap.
std::optional<Sentence> SentenceSplitter::take_char() {
  const Marks marks = marks_;
  const size_t size = folded_.size(), read = read_;
  const char last = size > 0 ? folded_.text.back() : '\0';
  try {
    const size_t cut = append(incoming_.text[read_], incoming_.begin[read_], incoming_.end[read_]);
    ++read_;
    if (cut == kNone) return std::nullopt;
    return take(cut);
  } catch (...) {
    folded_.cut(size);
    if (size > 0) folded_.text.back() = last;
    marks_ = marks;
    read_ = read;
    throw;
  }
}

/// Makes incoming_[read_] the next folded char; false when the bytes are used up.
bool SentenceSplitter::read_char() {
  std::string chars;
  while (read_ == incoming_.size()) {
    if (consumed_ == bytes_.size()) {
      bytes_.clear();
      consumed_ = 0;
      return false;
    }
    char32_t code = 0;
    const size_t length = decode_utf8(std::string_view(bytes_).substr(consumed_), finished_, &code);
    if (length == 0) return false;
    chars.clear();
    fold(code, &chars);
    FoldedText incoming;
    for (char c : chars) incoming.append(c, offset_, offset_ + length);
    incoming_ = std::move(incoming);
    read_ = 0;
    consumed_ += length;
    offset_ += length;
  }
  return true;
}

/// Adds a char; the index before which the sentence ends, or kNone.
size_t SentenceSplitter::append(char c, uint64_t begin, uint64_t end) {
  if (is_space(c)) {
    append_space(c, begin, end);
    const size_t size = folded_.size();
    if (marks_.ambiguous > 0) {
      const size_t cut = cut_of_ambiguous();
      if (cut != kNone) return cut;
    }
    if (marks_.markup_length > 0 || size < 2 || !is_terminal(folded_.text[size - 2])) return kNone;
    // Certain without the next word: what follows cannot turn this into an abbreviation.
    return sentence_ends(size - 1, '\0') == End::kYes ? size - 1 : kNone;
  }
  folded_.append(c, begin, end);
  track_markup();
  const size_t last = folded_.size() - 1;
  size_t cut = kNone;
  if (marks_.ambiguous > 0 && !is_letter(c)) cut = cut_of_ambiguous();
  if (cut == kNone && marks_.markup_length == 0 && last > 0 && is_space(folded_.text[last - 1]))
    cut = cut_at_space(last - 1);
  if (cut == kNone && folded_.size() > kSentenceLength) cut = cut_of_long();
  return cut;
}

/// Runs of spaces become one char: '\f' when they hold a blank line, else '\n' when they hold a line's end, else ' '.
void SentenceSplitter::append_space(char c, uint64_t begin, uint64_t end) {
  if (folded_.size() == 0) {
    marks_.newlines += c == '\n' ? 1 : c == '\f' ? 2 : 0;
    return;
  }
  char& last = folded_.text.back();
  if (!is_space(last)) {
    folded_.append(c, begin, end);
  } else if (c == '\f' || (c == '\n' && last != ' ')) {
    last = '\f';
  } else if (c == '\n') {
    last = '\n';
  }
}

void SentenceSplitter::track_markup() {
  const std::string_view text = folded_.text;
  const auto ends_with = [&](std::string_view tail) {
    return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
  };
  if (marks_.markup_length == 0) {
    if (ends_with("[[") || ends_with("<break")) marks_.markup_length = 1;
  } else if (ends_with("]]") || ends_with(">") || marks_.markup_length == kMarkupLength) {
    marks_.markup_length = 0;
  } else {
    ++marks_.markup_length;
  }
}

/// The word behind the space at `space` has begun: does the sentence end before it?
size_t SentenceSplitter::cut_at_space(size_t space) {
  const std::string& text = folded_.text;
  const char kind = text[space], before = space > 0 ? text[space - 1] : ' ', next = text[space + 1];
  if (kind == '\f' || (kind == '\n' && line_ends(space, next))) return space;
  if (kind == '\n') marks_.line_start = space + 1;
  const End end = sentence_ends(space, next);
  if (end == End::kYes) return space;
  if (end == End::kUnsure) marks_.ambiguous = space;
  marks_.last_space = space;
  if (is_clause_end(before)) marks_.last_clause = space;
  return is_clause_end(before) && space >= kClauseLength ? space : kNone;
}

bool SentenceSplitter::line_ends(size_t newline, char next) const {
  if (is_bullet(next)) return true;
  if (newline - marks_.line_start >= kShortLine) return false;
  return is_upper(next) || is_digit(next) || next == '"';
}

/// `next` is the first char of the word behind the space, or NUL while it is not known.
SentenceSplitter::End SentenceSplitter::sentence_ends(size_t space, char next) const {
  const std::string& text = folded_.text;
  size_t end = space;
  while (end > 0 && is_closer(text[end - 1])) --end;
  if (end == 0 || !is_terminal(text[end - 1])) return End::kNo;
  size_t start = end;
  bool loud = false;
  while (start > 0 && is_terminal(text[start - 1])) loud |= text[--start] != '.';
  const End by_next = is_lower(next) || next == '\0' ? End::kNo : End::kYes;
  if (loud) return end == space ? End::kYes : by_next;  // "Why?" she asked.
  if (end - start > 1) return by_next;

  const size_t from = word_start(text, start);
  const std::string word = lower(std::string_view(text).substr(from, start - from));
  if (word.empty()) return by_next;
  if (is_number(word)) return from == 0 ? End::kNo : by_next;  // "1. The first item"
  if (in_list(word, kTitles)) return End::kNo;
  if (in_list(word, kBeforeNumber) && (is_digit(next) || next == '\0')) return End::kNo;
  if (word == "etc" || in_list(word, kBeforeNumber)) return by_next;
  if (in_list(word, kMayEnd) || is_initials(std::string_view(text).substr(from, start - from))) {
    return by_next == End::kYes ? End::kUnsure : End::kNo;
  }
  return End::kYes;
}

size_t SentenceSplitter::cut_of_ambiguous() {
  const size_t space = std::exchange(marks_.ambiguous, 0);
  size_t from = space + 1;
  while (from < folded_.size() && !is_letter(folded_.text[from])) ++from;
  if (from + 1 >= folded_.size()) return kNone;
  const std::string_view word = std::string_view(folded_.text).substr(from, folded_.size() - 1 - from);
  return is_upper(word[0]) && in_list(lower(word), kStarters) ? space : kNone;
}

size_t SentenceSplitter::cut_of_long() const {
  if (marks_.last_clause >= kClauseLength / 2) return marks_.last_clause;
  if (marks_.last_space > 0) return marks_.last_space;
  return marks_.markup_length > 0 ? folded_.size() - marks_.markup_length - 5
                                  : kSentenceLength;  // 5: "<break" before it
}

/// Takes the sentence before `cut`; what is behind it will be read again.
Sentence SentenceSplitter::take(size_t cut) {
  Sentence sentence;
  size_t end = cut;
  while (end > 0 && is_space(folded_.text[end - 1])) --end;
  sentence.text = folded_.slice(0, end);
  std::replace_if(sentence.text.text.begin(), sentence.text.text.end(), is_space, ' ');
  sentence.paragraph_start = marks_.newlines > 1;
  sentence.cut = cut < folded_.size() && !is_space(folded_.text[cut]);
  sentence.cut |= cut < folded_.size() && end > 0 && sentence_ends(cut, 'A') == End::kNo && folded_.text[cut] == ' ';

  FoldedText rest = folded_.slice(cut, folded_.size());
  for (size_t i = read_; i < incoming_.size(); ++i) {
    rest.append(incoming_.text[i], incoming_.begin[i], incoming_.end[i]);
  }
  incoming_ = std::move(rest);
  read_ = 0;
  folded_ = {};
  marks_ = {};
  return sentence;
}

}  // namespace pocketuni
