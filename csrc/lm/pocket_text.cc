#include "lm/pocket_text.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "lm/unicode.h"

namespace pocketuni {
namespace {

constexpr double kTokensPerSecond = 3, kSpareSeconds = 2;
constexpr size_t kFewWords = 5;  // below, texts are padded where the model asks for it
constexpr char32_t kPadding[] = U"        ";
constexpr std::u32string_view kSentenceEnds = U".!?\u2026", kWeakEnds = U",;:-\u2013\u2014",
                              kClosers = U"\"'\u201d\u2019)]\u00bb";

bool contains(std::u32string_view signs, char32_t c) { return signs.find(c) != std::u32string_view::npos; }

std::u32string_view trimmed(std::u32string_view text) {
  while (!text.empty() && is_unicode_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_unicode_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string trimmed(const std::string& text) { return to_utf8(trimmed(from_utf8(text))); }

size_t count_words(std::u32string_view text) {
  size_t words = 0;
  bool inside = false;
  for (char32_t c : text) {
    const bool space = is_unicode_space(c);
    words += !space && !inside;
    inside = !space;
  }
  return words;
}

std::u32string single_spaced(std::u32string_view text) {
  std::u32string result;
  for (char32_t c : trimmed(text)) {
    if (!is_unicode_space(c)) {
      result += c;
    } else if (result.back() != U' ') {
      result += U' ';
    }
  }
  return result;
}

/// A quote that was deleted may leave a comma behind the end of a sentence.
std::u32string without_stray_commas(const std::u32string& text) {
  std::u32string result;
  for (size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (!contains(kSentenceEnds, text[i])) continue;
    size_t next = i + 1;
    while (next < text.size() && is_unicode_space(text[next])) ++next;
    if (next < text.size() && contains(U",;:", text[next])) i = next;
  }
  return result;
}

/// With the sign of a sentence's end: put behind it, or in place of a comma, colon or dash.
std::u32string ended(const std::u32string& text) {
  size_t core = text.size();
  while (core > 0 && (contains(kClosers, text[core - 1]) || text[core - 1] == U' ')) --core;
  if (core == 0 || contains(kSentenceEnds, text[core - 1])) return text;
  if (!contains(kWeakEnds, text[core - 1])) return text + U".";
  size_t kept = core;
  while (kept > 0 && (contains(kWeakEnds, text[kept - 1]) || text[kept - 1] == U' ')) --kept;
  return text.substr(0, kept) + U"." + std::u32string(trimmed(std::u32string_view(text).substr(core)));
}

bool is_among(const std::vector<int64_t>& ids, int64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

/// Where pieces of ids begin that each end with a run of signs, unless `together` says that what stands on both sides
/// of a place belongs together; the last place is the end.
template <typename Together>
std::vector<size_t> cuts(const std::vector<int64_t>& ids, const std::vector<int64_t>& signs, Together together) {
  std::vector<size_t> places = {0};
  for (size_t i = 1; i < ids.size(); ++i) {
    if (is_among(signs, ids[i - 1]) && !is_among(signs, ids[i]) && !together(i)) places.push_back(i);
  }
  places.push_back(ids.size());
  return places;
}

bool ends_with_digit_and_period(const std::string& text) {
  const size_t size = text.size();
  return size >= 2 && text[size - 1] == '.' && text[size - 2] >= '0' && text[size - 2] <= '9';
}

}  // namespace

PocketText::PocketText(TextRules rules, std::shared_ptr<const PieceTokenizer> tokenizer)
    : rules_(std::move(rules)), tokenizer_(std::move(tokenizer)) {
  // The first token of both strings of signs is the space before them.
  for (auto [signs, found] : {std::pair{".!...?", &ends_}, std::pair{",;:", &commas_}}) {
    *found = tokenizer_->encode(signs);
    if (!found->empty()) found->erase(found->begin());
  }
}

PocketText::PocketText(const ModelFile& file)
    : PocketText(read_text_rules(file), [&] {
        const Blob* blob = find_blob(file, "pocket.tokenizer");
        const std::string where = file.path() + ": blob 'pocket.tokenizer'";
        if (blob == nullptr) fail_format(where + " is missing");
        return std::make_shared<const PieceTokenizer>(where, blob->data, static_cast<size_t>(blob->size));
      }()) {}

std::u32string PocketText::cleaned(std::string_view utf8) const {
  std::u32string text(trimmed(from_utf8(utf8)));
  if (!rules_.replace.empty()) {
    std::u32string replaced;
    for (char32_t c : text) {
      const auto found = rules_.replace.find(c);
      found == rules_.replace.end() ? void(replaced += c) : void(replaced += found->second);
    }
    text = without_stray_commas(single_spaced(replaced));
  }
  std::u32string result;
  for (char32_t c : text) {
    if (c == U'\n' || c == U'\r') c = U' ';
    if (c == U';' && rules_.remove_semicolons) c = U',';
    result += c;
  }
  for (size_t at = 0; (at = result.find(U"  ", at)) != std::u32string::npos; ++at) result.erase(at, 1);
  return result;
}

std::string PocketText::prepare(std::string_view utf8) const {
  std::u32string text = cleaned(utf8);
  if (text.empty()) return "";
  if (rules_.capitalize) text = upper_case(text[0]) + text.substr(1);
  if (rules_.end_with_punctuation) text = ended(text);
  if (rules_.pad_with_spaces && count_words(text) < kFewWords) text = kPadding + text;
  return to_utf8(text);
}

int64_t PocketText::frames_after_eos(std::string_view chunk) const {
  if (rules_.frames_after_eos >= 0) return rules_.frames_after_eos;
  return count_words(cleaned(chunk)) <= 4 ? 5 : 3;
}

/// Whether the place is that behind the period of a number. A few tokens tell it.
bool PocketText::within_number(const std::vector<int64_t>& ids, size_t place) const {
  constexpr size_t kTokens = 8;
  const size_t first = place - std::min(place, kTokens), last = std::min(place + kTokens, ids.size());
  if (!ends_with_digit_and_period(tokenizer_->decode(ids.data() + first, place - first))) return false;
  const std::string after = tokenizer_->decode(ids.data() + place, last - place);
  return !after.empty() && after[0] >= '0' && after[0] <= '9';
}

std::vector<PocketText::Piece> PocketText::sentences(std::string_view text, size_t most) const {
  const std::vector<int64_t> ids = tokenizer_->encode(text);
  const std::vector<size_t> places = cuts(ids, ends_, [&](size_t place) { return within_number(ids, place); });
  std::vector<Piece> pieces;
  for (size_t i = 0; i + 1 < places.size(); ++i) {
    const size_t count = places[i + 1] - places[i];
    const std::string sentence = tokenizer_->decode(ids.data() + places[i], count);
    std::vector<int64_t> inner;
    std::vector<size_t> parts;
    if (count > most) {
      inner = tokenizer_->encode(trimmed(sentence));
      parts = cuts(inner, commas_, [](size_t) { return false; });
    }
    if (parts.size() <= 2) pieces.push_back({count, sentence});
    for (size_t j = 0; parts.size() > 2 && j + 1 < parts.size(); ++j) {
      pieces.push_back({parts[j + 1] - parts[j], tokenizer_->decode(inner.data() + parts[j], parts[j + 1] - parts[j])});
    }
  }
  return pieces;
}

std::vector<std::string> PocketText::chunks(std::string_view text, size_t most) const {
  const std::string prepared = trimmed(prepare(text));
  if (prepared.empty()) return {};
  std::vector<std::string> chunks;
  std::string chunk;
  size_t size = 0;
  for (const auto& [count, sentence] : sentences(prepared, most)) {
    const bool fits = chunk.empty() || size + count <= most;
    if (!fits) chunks.push_back(trimmed(chunk));
    const bool begins = chunk.empty() || !fits;
    chunk = begins ? sentence : chunk + " " + sentence;
    size = begins ? count : size + count;
  }
  if (!chunk.empty()) chunks.push_back(trimmed(chunk));
  return chunks;
}

int64_t most_frames(size_t tokens, double frames_per_second) {
  return static_cast<int64_t>(
      std::ceil((static_cast<double>(tokens) / kTokensPerSecond + kSpareSeconds) * frames_per_second));
}

}  // namespace pocketuni
