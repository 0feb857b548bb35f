#include "speech/normalize_tokens.h"

#include <algorithm>

namespace pocketuni {
namespace {

const Token kNoToken = {Token::kEnd, {}, 0, true};

}  // namespace

Scan::Scan(const FoldedText& sentence, const IsKnown& is_known) : sentence_(sentence), is_known_(is_known) {
  cut();
  find_shouting();
}

void Scan::cut() {
  const std::string_view text = sentence_.text;
  bool space = true;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    size_t end = at + 1;
    Token::Kind kind = Token::kSymbol;
    if (c == ' ') {
      space = true;
      ++at;
      continue;
    }
    if (text.substr(at, 2) == "[[" && text.find("]]", at) != std::string_view::npos) {
      end = text.find("]]", at) + 2;
      kind = Token::kPhones;
    } else if (text.substr(at, 6) == "<break" && text.find('>', at) != std::string_view::npos) {
      end = text.find('>', at) + 1;
      kind = Token::kBreak;
    } else if (is_digit(c)) {
      while (end < text.size() && is_digit(text[end])) ++end;
      kind = Token::kNumber;
    } else if (is_letter(c)) {
      const auto inner = [&](size_t i) {  // don't, o'clock
        return text[i] == '\'' && i + 1 < text.size() && is_letter(text[i + 1]);
      };
      while (end < text.size() && (is_letter(text[end]) || inner(end))) ++end;
      kind = Token::kWord;
    }
    tokens_.push_back({kind, text.substr(at, end - at), at, space});
    space = false;
    at = end;
  }
}

/// A sentence in capitals: they say nothing about how its words are read.
void Scan::find_shouting() {
  int words = 0, capitals = 0;
  for (const Token& token : tokens_) {
    if (token.kind != Token::kWord || token.text.size() < 2) continue;
    ++words;
    capitals += std::none_of(token.text.begin(), token.text.end(), is_lower);
  }
  shouting_ = words >= 3 && capitals * 10 >= words * 6;
}

const Token& Scan::peek(int ahead) const {
  const size_t index = at_ + static_cast<size_t>(ahead);  // a negative one wraps around to a huge index
  return index < tokens_.size() ? tokens_[index] : kNoToken;
}

bool Scan::is_symbol(int ahead, char symbol) const {
  const Token& token = peek(ahead);
  return token.kind == Token::kSymbol && token.text[0] == symbol;
}

bool Scan::is_word(int ahead, const char* list) const {
  return is_word(ahead) && in_list(lower(peek(ahead).text), list);
}

int Scan::glued_count(int ahead) const {
  int count = 1;
  while (is_glued(ahead + count)) ++count;
  return peek(ahead).kind == Token::kEnd ? 0 : count;
}

std::string_view Scan::span(int ahead, int count) const {
  if (count <= 0 || peek(ahead).kind == Token::kEnd) return {};
  const Token& first = peek(ahead);
  const Token& last = peek(ahead + count - 1);
  return std::string_view(sentence_.text).substr(first.at, last.at + last.text.size() - first.at);
}

uint64_t Scan::begin_of(int ahead) const { return sentence_.begin[peek(ahead).at]; }

uint64_t Scan::end_of(int ahead) const { return sentence_.end[peek(ahead).at + peek(ahead).text.size() - 1]; }

void Scan::say(std::string_view words, int ahead, int count) {
  const uint64_t begin = begin_of(ahead), end = end_of(ahead + count - 1);
  for (size_t at = 0; at < words.size();) {
    const size_t stop = std::min(words.find(' ', at), words.size());
    const std::string_view word = words.substr(at, stop - at);
    at = stop + 1;
    if (word.empty()) continue;
    if (word == ",") {
      spoken_.push_back({Spoken::kPause, ",", begin, end});
    } else {
      spoken_.push_back({is_upper(word[0]) ? Spoken::kLetter : Spoken::kWord, std::string(word), begin, end});
    }
  }
}

void Scan::say(std::string_view words, int count) {
  say(words, 0, count);
  skip(count);
}

void Scan::pause(char kind) { spoken_.push_back({Spoken::kPause, std::string(1, kind), begin_of(0), end_of(0)}); }

}  // namespace pocketuni
