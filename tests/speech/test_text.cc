// Normalization, sentences, and what hostile text does to them.
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "speech/normalize.h"
#include "speech/normalize_numbers.h"
#include "speech/sentences.h"
#include "speech/text_cases.h"

namespace {

using pocketuni::FoldedText;
using pocketuni::Sentence;
using pocketuni::SentenceSplitter;

bool is_known(std::string_view word) {
  return pocketuni::in_list(
      word,
      "so open this door do not angry the it hmm co me name file machine learning camel case parser "
      "run path example report windows tell");
}

std::vector<Sentence> split(std::string_view text, size_t piece = static_cast<size_t>(-1)) {
  SentenceSplitter splitter;
  std::vector<Sentence> sentences;
  for (size_t at = 0; at < text.size(); at += std::min(piece, text.size() - at)) {
    splitter.push(text.substr(at, piece));
    while (auto sentence = splitter.next()) sentences.push_back(*sentence);
  }
  splitter.finish();
  while (auto sentence = splitter.next()) sentences.push_back(*sentence);
  return sentences;
}

std::string bracketed(const std::vector<Sentence>& sentences) {
  std::string text;
  for (const Sentence& sentence : sentences) text += '[' + sentence.text.text + ']';
  return text;
}

/// The whole text as one sentence.
std::string say(std::string_view text) {
  FoldedText folded;
  for (size_t at = 0; at < text.size();) {
    char32_t code = 0;
    const size_t length = pocketuni::decode_utf8(text.substr(at), true, &code);
    std::string chars;
    pocketuni::fold(code, &chars);
    for (char c : chars) folded.append(c == '\n' ? ' ' : c, at, at + length);
    at += length;
  }
  return pocketuni::spoken_text(pocketuni::normalize(folded, is_known));
}

void test_normalization() {
  for (const TextCase& item : kTextCases) {
    const std::string spoken = say(item.written);
    CHECK(spoken == item.spoken, "%s: '%s', expected '%s'", item.written, spoken.c_str(), item.spoken);
  }
}

void test_numbers() {
  CHECK(pocketuni::roman_value("MCMXCIV") == 1994);
  CHECK(pocketuni::roman_value("IIII") == 0);
  CHECK(pocketuni::roman_value("VX") == 0);
  CHECK(pocketuni::roman_value("") == 0);
  CHECK(pocketuni::ordinal("100") == "one hundredth");
  CHECK(pocketuni::ordinal("20") == "twentieth");
  CHECK(pocketuni::small_value("9999999999") == -1);
}

struct SplitCase {
  const char *text, *sentences;
};

const SplitCase kSplitCases[] = {
    {"One. Two! Three? Four", "[One.][Two!][Three?][Four]"},
    {"Dr. Smith met Mr. Jones. They left.", "[Dr. Smith met Mr. Jones.][They left.]"},
    {"It costs 3.50 in all. Yes.", "[It costs 3.50 in all.][Yes.]"},
    {"e.g. this. i.e. that.", "[e.g. this.][i.e. that.]"},
    {"He lives in the U.S. Army base.", "[He lives in the U.S. Army base.]"},
    {"He lives in the U.S. The base is near.", "[He lives in the U.S.][The base is near.]"},
    {"Come at 5 p.m. We wait.", "[Come at 5 p.m.][We wait.]"},
    {"Come at 5 p.m. today.", "[Come at 5 p.m. today.]"},
    {"See No. 5 and p. 7 here.", "[See No. 5 and p. 7 here.]"},
    {"I said no. He left.", "[I said no.][He left.]"},
    {"J. R. R. Tolkien wrote it.", "[J. R. R. Tolkien wrote it.]"},
    {"\"Why?\" she asked. \"No.\" He left.", "[\"Why?\" she asked.][\"No.\"][He left.]"},
    {"He paused... then spoke. And... Then", "[He paused... then spoke.][And...][Then]"},
    {"Wait (really!) please.", "[Wait (really!) please.]"},
    {"Really?! Yes!!", "[Really?!][Yes!!]"},
    {"A title\n\nThe text goes on", "[A title][The text goes on]"},
    {"A short line\nThe next line", "[A short line][The next line]"},
    {"this line is long enough to be wrapped prose, surely, and\nGoes on here.",
     "[this line is long enough to be wrapped prose, surely, and Goes on here.]"},
    {"wrapped\nprose", "[wrapped prose]"},
    {"- one\n- two\n* three", "[- one][- two][* three]"},
    {"1. First item\n2. Second item", "[1. First item][2. Second item]"},
    {"apples, etc. Then more.", "[apples, etc.][Then more.]"},
    {"In 2010. The end.", "[In 2010.][The end.]"},
    {"visit example.com now. ok", "[visit example.com now.][ok]"},
    {"say [[HH AH0. L OW1]] now", "[say [[HH AH0. L OW1]] now]"},
    {"a <break time=\"1.5 s\"/> b", "[a <break time=\"1.5 s\"/> b]"},
    {"", ""},
    {"  \n\n ", ""},
    {"... !!! ???", ""},
    {"\xF0\x9F\x98\x80", ""},
};

void test_sentences() {
  for (const SplitCase& item : kSplitCases) {
    const std::string whole = bracketed(split(item.text)), bytewise = bracketed(split(item.text, 1));
    CHECK(whole == item.sentences, "%s: %s, expected %s", item.text, whole.c_str(), item.sentences);
    CHECK(bytewise == whole, "%s, byte by byte: %s", item.text, bytewise.c_str());
  }
}

void test_sentences_come_early() {
  SentenceSplitter splitter;
  splitter.push("It works. ");
  CHECK(splitter.next().has_value(), "a sentence is there at the space behind it");
  splitter.push("So ");
  CHECK(!splitter.next().has_value());
  splitter.push("does this");
  CHECK(!splitter.next().has_value());
  splitter.finish();
  CHECK(splitter.next()->text.text == "So does this");
  CHECK(!splitter.next().has_value());
}

void test_paragraphs() {
  const std::vector<Sentence> sentences = split("One. Two.\n\nThree. Four");
  CHECK(sentences.size() == 4);
  CHECK(!sentences[1].paragraph_start);
  CHECK(sentences[2].paragraph_start);
  CHECK(!sentences[3].paragraph_start);
}

void test_long_sentences_are_cut() {
  std::string words, clauses;
  for (int i = 0; i < 300; ++i) words += "word ";
  for (int i = 0; i < 60; ++i) clauses += "some words here, ";
  for (const std::string& text : {words, clauses, std::string(5000, 'x'), std::string(3000, '1')}) {
    size_t total = 0;
    for (const Sentence& sentence : split(text)) {
      CHECK(sentence.text.size() <= pocketuni::kSentenceLength, "%zu", sentence.text.size());
      for (char c : sentence.text.text) total += c != ' ';
    }
    size_t expected = 0;
    for (char c : text) expected += c != ' ';
    CHECK(total == expected, "%zu of %zu chars", total, expected);
  }
  const Sentence first = split(clauses)[0];
  CHECK(first.cut && first.text.text.back() == ',', "cut behind a comma");
  CHECK(first.text.size() < pocketuni::kClauseLength + 20);
}

/// Each char of a sentence stands for the bytes that its offsets name.
void test_offsets() {
  const std::string text = "  Caf\xC3\xA9 \xF0\x9F\x98\x80 one.\n\n  Two  \xE2\x80\x9Cthree\xE2\x80\x9D. ";
  for (const Sentence& sentence : split(text, 3)) {
    for (size_t i = 0; i < sentence.text.size(); ++i) {
      const char c = sentence.text.text[i];
      const uint64_t begin = sentence.text.begin[i], end = sentence.text.end[i];
      if (!CHECK(begin < end && end <= text.size(), "%zu", i)) continue;
      if (pocketuni::is_letter(c) && end - begin == 1)
        CHECK(text[begin] == c, "%c at %zu", c, static_cast<size_t>(begin));
    }
  }
  const std::vector<pocketuni::Spoken> spoken =
      pocketuni::normalize(split("It cost $3.50 \xE2\x80\x94 ok")[0].text, is_known);
  const pocketuni::Spoken& dollars = spoken[3];
  CHECK(dollars.text == "dollars" && dollars.begin == 8 && dollars.end == 13, "%s %zu %zu", dollars.text.c_str(),
        static_cast<size_t>(dollars.begin), static_cast<size_t>(dollars.end));
}

void test_faulty_markup() {
  for (const char* text : {"a <break time=\"99s\"/>", "a <break time=\"abc\"/>", "a <break time=300/>",
                           "a <break time=\"\"/>", "a <break time=\"-1s\"/>", "a <break time=\"3 minutes\"/>"}) {
    bool refused = false;
    try {
      say(text);
    } catch (const pocketuni::Error& error) {
      refused = error.status() == pocketuni::Status::kInvalidArgument &&
                std::string(error.what()).find("expected <break") != std::string::npos;
    }
    CHECK(refused, "%s", text);
  }
}

/// Runs a text through both stages; errors are fine, anything else that goes wrong is for the sanitizers to find.
double seconds_for(const std::string& text, size_t piece = static_cast<size_t>(-1)) {
  const std::clock_t start = std::clock();  // of this process: the machine may be busy
  for (const Sentence& sentence : split(text, piece)) {
    try {
      const auto spoken = pocketuni::normalize(sentence.text, is_known);
      for (const pocketuni::Spoken& item : spoken) {
        const bool sane = item.begin < item.end && item.end <= text.size() && item.text.size() <= 500;
        if (!sane)
          CHECK(sane, "'%s' %zu..%zu", item.text.c_str(), static_cast<size_t>(item.begin),
                static_cast<size_t>(item.end));
      }
    } catch (const pocketuni::Error&) {
    }
  }
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

void test_hostile_text() {
  std::mt19937 random(1);
  const char alphabet[] = " .,!?'\"0123456789abcxyzABCXIV$%:/-+#@&()[]<>=_\n\xC2\xB0\xE2\x82\xAC";
  for (int round = 0; round < (check::slow_cpu() ? 100 : 400); ++round) {
    std::string bytes, text;
    for (int i = 0; i < 600; ++i) {
      bytes += static_cast<char>(random());
      text += alphabet[random() % (sizeof(alphabet) - 1)];
    }
    seconds_for(bytes, 1 + random() % 700);
    seconds_for(text, 1 + random() % 700);
  }
  // Lone surrogates, overlong forms, the last code point, a cut sequence, NUL.
  const char bytes[] = "\xED\xA0\x80 \xED\xBF\xBF \xC0\xAF \xF4\x8F\xBF\xBF \xF4\x90\x80\x80 ok \0 \xE2\x82";
  const std::string odd(bytes, sizeof(bytes) - 1);
  CHECK(say(odd).find("ok") != std::string::npos);
  CHECK(bracketed(split(odd)) == "[ok]");
}

void test_time_is_linear() {
  const std::string kinds[] = {"word ",  "x",      ".",       "1",      "\xFF",         "\n",
                               "[[",     "<break", "A.",      "\"",     "1,",           "$1.",
                               "- ",     "a-",     "1/",      "(555) ", "http://a.",    "a@b.c",
                               "U.S. A", "Mr. ",   "<break ", "'",      "\xE2\x80\xA6", "\xF0\x9F\x98\x80",
                               "AbC"};
  const size_t size = (check::slow_cpu() ? 4 : 32) << 10;
  for (const std::string& kind : kinds) {
    std::string small, large;
    while (small.size() < size) small += kind;
    while (large.size() < 16 * size) large += kind;
    const double base = std::min(seconds_for(small), seconds_for(small)), time = seconds_for(large);
    // 16 times the input: 16 times the time, with room for a busy machine; a square would be 256 times.
    CHECK(time < base * 80 + 0.25, "'%s': %.3f s for %zu kB, %.3f s for 16 times that", kind.c_str(), base, size >> 10,
          time);
  }
}

}  // namespace

int main() {
  test_normalization();
  test_numbers();
  test_sentences();
  test_sentences_come_early();
  test_paragraphs();
  test_long_sentences_are_cut();
  test_offsets();
  test_faulty_markup();
  test_hostile_text();
  test_time_is_linear();
  return check::summary();
}
