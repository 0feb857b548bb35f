// The pronouncing dictionary, faulty ones, and the front end from text to units.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "speech/lexicon.h"
#include "speech/lexicon_context.h"
#include "speech/text_frontend.h"

namespace {

using pocketuni::Error;
using pocketuni::Lexicon;
using pocketuni::Phones;
using pocketuni::Status;
using pocketuni::TextFrontEnd;
using pocketuni::Utterance;

/// Written by make_frontend.py: a small dictionary, and a letter-to-sound tower with random weights.
std::shared_ptr<const pocketuni::Model> model() {
  static const auto instance = pocketuni::Model::open("tests/speech/frontend.puni");
  return instance;
}

std::vector<uint8_t> lexicon_bytes() {
  const pocketuni::Blob& blob = model()->file().blobs().at(0);
  return std::vector<uint8_t>(blob.data, blob.data + blob.size);
}

std::vector<Utterance> utterances(std::string_view text) {
  TextFrontEnd front_end(model());
  front_end.push(text);
  front_end.finish();
  std::vector<Utterance> result;
  Utterance utterance;
  while (front_end.next(&utterance)) result.push_back(utterance);
  return result;
}

std::string unit_names(const Utterance& utterance) {
  std::string text;
  for (size_t i = 0; i < utterance.units.size(); ++i) {
    if (i > 0) text += utterance.flags[i] ? " | " : " ";
    text += pocketuni::unit_name(static_cast<uint8_t>(utterance.units[i]));
  }
  return text;
}

std::string units_of(std::string_view text) {
  std::string result;
  for (const Utterance& utterance : utterances(text)) result += (result.empty() ? "" : " / ") + unit_names(utterance);
  return result;
}

void test_lookup() {
  const std::vector<uint8_t> bytes = lexicon_bytes();
  const Lexicon lexicon(bytes.data(), bytes.size());
  CHECK(lexicon.size() > 150 && bytes.size() < 4096, "%u words, %zu bytes", lexicon.size(), bytes.size());
  Phones phones;
  CHECK(lexicon.find("hello", &phones) && pocketuni::phones_text(phones) == "HH AH0 L OW1");
  CHECK(lexicon.find("a", &phones) && pocketuni::phones_text(phones) == "AH0", "the first word");
  CHECK(lexicon.find("zoom", &phones) && pocketuni::phones_text(phones) == "Z UW1 M", "the last word");
  for (const char* absent : {"", "'", "aa", "hell", "hellos", "zzz", "zoomed", "HELLO", "\xFF"}) {
    CHECK(!lexicon.find(absent, &phones) && phones.empty(), "'%s'", absent);
  }
  CHECK(!lexicon.find(std::string(1000, 'x'), &phones));
  CHECK(lexicon.is_known("door") && lexicon.is_known("yaml") && !lexicon.is_known("qzx"));
}

/// Looks words up in a damaged dictionary: an error or an answer, nothing else.
void try_lexicon(const std::vector<uint8_t>& bytes) {
  try {
    const Lexicon lexicon(bytes.data(), bytes.size());
    for (const char* word : {"a", "zoom", "hello", "kubernetes", "m", "wished", "zzzz"}) {
      Phones phones;
      lexicon.find(word, &phones);
      lexicon.is_known(word);
      CHECK(phones.size() <= 64);
    }
  } catch (const Error& error) {
    CHECK(error.status() == Status::kFormat, "%s", error.what());
  }
}

void test_damaged_lexicons() {
  const std::vector<uint8_t> bytes = lexicon_bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<uint8_t> damaged = bytes;
      damaged[i] ^= static_cast<uint8_t>(1 << bit);
      try_lexicon(damaged);
    }
  }
  for (size_t size = 0; size < bytes.size(); size += size < 200 ? 1 : 37) {
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    bool refused = false;
    try {
      Lexicon(cut.data(), cut.size());
    } catch (const Error& error) {
      refused = error.status() == Status::kFormat;
    }
    CHECK(refused, "%zu bytes", size);
  }
  std::mt19937 random(2);
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> noise = bytes;
    for (size_t i = random() % 160; i < noise.size(); i += 1 + random() % 300)
      noise[i] = static_cast<uint8_t>(random());
    try_lexicon(noise);
  }
}

void test_units() {
  CHECK(units_of("Hello, world!") == "sil | HH AH0 L OW1 , | W ER1 L D ! sil", "%s", units_of("Hello, world!").c_str());
  CHECK(units_of("yes") == "sil | Y EH1 S . sil", "a full stop where there is none");
  CHECK(units_of("Is it? No.") == "sil | IH1 Z | IH1 T ? sil / sil | N OW1 . sil");
  CHECK(units_of("yes - no (and) so") == "sil | Y EH1 S - | N OW1 - | AH0 N D - | S OW1 . sil");
  CHECK(units_of("[[HH AY1]] you") == "sil | HH AY1 | Y UW1 . sil");
  CHECK(units_of("USB") == "sil | Y UW1 | EH1 S | B IY1 . sil", "%s", units_of("USB").c_str());
  CHECK(units_of("5%") == "sil | F AY1 V | P ER0 S EH1 N T . sil");
  CHECK(units_of("") == "" && units_of("...") == "" && units_of("\xE4\xBD\xA0") == "");
}

void test_context() {
  CHECK(units_of("the apple") == "sil | DH IY0 | AE1 P AH0 L . sil");
  CHECK(units_of("the cat") == "sil | DH AH0 | K AE1 T . sil");
  CHECK(units_of("the hour") == "sil | DH IY0 | AW1 ER0 . sil", "it is the sound that counts");
  CHECK(units_of("to you") == "sil | T AH0 | Y UW1 . sil");
  CHECK(units_of("we want to.") == "sil | W IY1 | W AA1 N T | T UW1 . sil");
  CHECK(units_of("to record") == "sil | T AH0 | R AH0 K AO1 R D . sil", "a verb");
  CHECK(units_of("the record") == "sil | DH AH0 | R EH1 K ER0 D . sil", "a noun");
  CHECK(units_of("close the door") == "sil | K L OW1 Z | DH AH0 | D AO1 R . sil");
  for (const char* word : {"abuse", "close", "content", "contest", "increase", "record", "use", "wind"}) {
    const char* verb = pocketuni::pronunciation_in_context(word, "to", "", false);
    const char* noun = pocketuni::pronunciation_in_context(word, "the", "", false);
    if (!CHECK(verb != nullptr && noun != nullptr, "%s", word)) continue;
    CHECK(std::string(verb) != noun, "%s", word);
    CHECK(!pocketuni::parse_phones(verb).empty() && !pocketuni::parse_phones(noun).empty());
  }
}

void test_word_formation() {
  CHECK(units_of("walked") == "sil | W AO1 K T . sil");
  CHECK(units_of("wanted") == "sil | W AA1 N T IH0 D . sil");
  CHECK(units_of("wishes") == "sil | W IH1 SH IH0 Z . sil");
  CHECK(units_of("smith's") == "sil | S M IH1 TH S . sil");
  CHECK(units_of("dogs") == "sil | D AO1 G Z . sil");
  CHECK(units_of("making") == "sil | M EY1 K IH0 NG . sil");
  CHECK(units_of("cries") == "sil | K R AY1 Z . sil");
  CHECK(units_of("liked") == "sil | L AY1 K T . sil");
}

void test_unknown_words() {
  for (const std::string& word : {std::string("zyxwvut"), std::string("o'brienish"), std::string(390, 'q') + "a"}) {
    const std::vector<Utterance> found = utterances(word);
    if (found.empty()) continue;
    int primaries = 0;
    for (int64_t unit : found[0].units) {
      CHECK(unit >= 0 && unit < pocketuni::kUnitCount);
      primaries += unit >= pocketuni::kFirstVowel && pocketuni::stress_of(static_cast<uint8_t>(unit)) == 1;
    }
    CHECK(primaries <= 1, "%s: %d primary stresses", word.c_str(), primaries);
    CHECK(units_of(word) == units_of(word));
  }
}

void test_words_and_breaks() {
  const std::string text = "Yes, $5. <break time=\"250ms\"/> Hello <break time=\"2s\"/> world <break/>";
  const std::vector<Utterance> found = utterances(text);
  if (!CHECK(found.size() == 2, "%zu", found.size())) return;
  const Utterance &first = found[0], &second = found[1];
  CHECK(first.words.size() == 3 && first.words[2].text == "dollars");
  for (const Utterance& utterance : found) {
    CHECK(utterance.units.size() == utterance.flags.size());
    for (const Utterance::Word& word : utterance.words) {
      CHECK(utterance.flags[word.first_unit] == 1);
      CHECK(word.first_unit + word.units < utterance.units.size());
    }
  }
  const Utterance::Word& dollars = first.words[2];
  CHECK(text.substr(dollars.begin, dollars.end - dollars.begin) == "$5");
  if (!CHECK(second.breaks.size() == 3, "%zu", second.breaks.size())) return;
  CHECK(second.breaks[0].unit == 0 && second.breaks[0].milliseconds == 250);
  CHECK(second.units[second.breaks[1].unit] == pocketuni::kUnitComma && second.breaks[1].milliseconds == 2000);
  CHECK(second.breaks[2].unit == second.units.size() - 2, "the closing pause");
  CHECK(text.substr(second.words[0].begin, second.words[0].end - second.words[0].begin) == "Hello");

  const std::vector<Utterance> only = utterances("<break time=\"1s\"/>");
  CHECK(only.size() == 1 && only[0].words.empty() && unit_names(only[0]) == "sil . sil" && only[0].breaks[0].unit == 1);
}

void test_errors_leave_it_usable() {
  TextFrontEnd front_end(model());
  front_end.push("Say [[HH XX1 L]] now. Then this.");
  front_end.finish();
  Utterance utterance;
  std::string message;
  try {
    front_end.next(&utterance);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("'XX1'") != std::string::npos, "%s", message.c_str());
  CHECK(front_end.next(&utterance) && utterance.words.size() == 2);
  CHECK(!front_end.next(&utterance));
}

}  // namespace

int main() {
  test_lookup();
  test_damaged_lexicons();
  test_units();
  test_context();
  test_word_formation();
  test_unknown_words();
  test_words_and_breaks();
  test_errors_leave_it_usable();
  return check::summary();
}
