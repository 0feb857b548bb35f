#include "speech/text_pronounce.h"

#include "base/error.h"
#include "speech/lexicon_context.h"
#include "speech/text_chars.h"

namespace pocketuni {
namespace {

constexpr size_t kCached = 1024;

Lexicon find_lexicon(const Model& model) {
  for (const Blob& blob : model.file().blobs()) {
    if (blob.name == "lexicon.en") return Lexicon(blob.data, blob.size);
  }
  fail_argument("the model has no pronouncing dictionary: expected a blob 'lexicon.en'; use a voice model");
}

bool is_one_of(uint8_t phone, const char* names) { return in_list(unit_name(phone), names); }

bool ends_with(std::string_view word, std::string_view tail) {
  return word.size() > tail.size() && word.substr(word.size() - tail.size()) == tail;
}

void append(Phones* phones, const char* text) {
  for (uint8_t phone : parse_phones(text)) phones->push_back(phone);
}

/// The ending of plurals, possessives and third persons.
void append_s(Phones* phones) {
  const uint8_t last = phones->back();
  append(phones, is_one_of(last, "S Z SH ZH CH JH") ? "IH0 Z" : is_one_of(last, "P T K F TH") ? "S" : "Z");
}

/// The ending of past tenses.
void append_ed(Phones* phones) {
  const uint8_t last = phones->back();
  append(phones, is_one_of(last, "T D") ? "IH0 D" : is_one_of(last, "P K F TH S SH CH") ? "T" : "D");
}

using Ending = void (*)(Phones*);
const struct {
  const char *tail, *stem_tail;  // the word's, and what the stem has instead
  Ending ending;
} kEndings[] = {
    {"'s", "", append_s},
    {"ies", "y", append_s},
    {"es", "e", append_s},
    {"s", "", append_s},
    {"es", "", append_s},
    {"ied", "y", append_ed},
    {"ed", "e", append_ed},
    {"ed", "", append_ed},
    {"ing", "", [](Phones* phones) { append(phones, "IH0 NG"); }},
    {"ing", "e", [](Phones* phones) { append(phones, "IH0 NG"); }},
    {"ly", "", [](Phones* phones) { append(phones, "L IY0"); }},
    {"ness", "", [](Phones* phones) { append(phones, "N AH0 S"); }},
    {"less", "", [](Phones* phones) { append(phones, "L AH0 S"); }},
};

}  // namespace

Pronouncer::Pronouncer(std::shared_ptr<const Model> model)
    : model_(std::move(model)), lexicon_(find_lexicon(*model_)), letter_to_sound_(model_) {}

/// A stem in the dictionary with an ending ("pocketed", "lexicons"). Stems below three letters mislead ("bed").
bool Pronouncer::from_stem(const std::string& word, Phones* phones) const {
  for (const auto& item : kEndings) {
    if (!ends_with(word, item.tail)) continue;
    std::string stem = word.substr(0, word.size() - std::string_view(item.tail).size());
    stem += item.stem_tail;
    if (stem.size() < 3 || !lexicon_.find(stem, phones)) continue;
    if (phones->empty()) continue;
    item.ending(phones);
    return true;
  }
  return false;
}

Phones Pronouncer::pronounce_word(const std::string& word) {
  Phones phones;
  if (lexicon_.find(word, &phones) || from_stem(word, &phones)) return phones;
  const auto cached = cache_.find(word);
  if (cached != cache_.end()) return cached->second;
  phones = letter_to_sound_.pronounce(word);
  if (cache_.size() >= kCached) cache_.clear();
  cache_.emplace(word, phones);
  return phones;
}

Phones Pronouncer::pronounce_item(const Spoken& item) {
  if (item.kind == Spoken::kPhones) return parse_phones(item.text);
  if (item.kind == Spoken::kWord) return pronounce_word(item.text);
  if (item.kind != Spoken::kLetter) return {};
  Phones phones = parse_phones(letter_name(item.text[0]));
  if (item.text.size() > 1 && !phones.empty()) append_s(&phones);
  return phones;
}

std::vector<Phones> Pronouncer::pronounce(const std::vector<Spoken>& spoken) {
  std::vector<Phones> phones;
  for (const Spoken& item : spoken) phones.push_back(pronounce_item(item));
  const auto word_at = [&](size_t i) -> std::string_view {
    return i < spoken.size() && spoken[i].kind == Spoken::kWord ? std::string_view(spoken[i].text) : "";
  };
  for (size_t i = 0; i < spoken.size(); ++i) {
    if (spoken[i].kind != Spoken::kWord) continue;
    const bool follows = i + 1 < spoken.size() && !phones[i + 1].empty();
    const bool vowel_follows = follows && is_vowel(phones[i + 1][0]);
    const std::string_view previous = i > 0 ? word_at(i - 1) : "";
    const std::string_view next = follows && word_at(i + 1).empty() ? "-" : word_at(i + 1);
    const char* text = pronunciation_in_context(spoken[i].text, previous, next, vowel_follows);
    if (text != nullptr) phones[i] = parse_phones(text);
  }
  return phones;
}

}  // namespace pocketuni
