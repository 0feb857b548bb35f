#include "speech/text_frontend.h"

#include <algorithm>

#include "speech/units.h"

namespace pocketuni {
namespace {

uint8_t pause_unit(char sign) {
  switch (sign) {
    case ',':
      return kUnitComma;
    case '?':
      return kUnitQuestion;
    case '!':
      return kUnitExclamation;
    case '-':
      return kUnitDash;
  }
  return kUnitPeriod;
}

void add_unit(Utterance* utterance, uint8_t unit, bool first_of_word) {
  utterance->units.push_back(unit);
  utterance->flags.push_back(first_of_word ? 1 : 0);
}

void add_word(Utterance* utterance, const Spoken& item, const Phones& phones) {
  utterance->words.push_back({item.text, item.begin, item.end, utterance->units.size(), phones.size()});
  for (size_t i = 0; i < phones.size(); ++i) add_unit(utterance, phones[i], i == 0);
}

/// Gives the pause before this place a length; makes one where a word stands there.
void add_break(Utterance* utterance, double milliseconds) {
  if (utterance->units.back() >= kFirstPhone) add_unit(utterance, kUnitComma, false);
  const size_t unit = utterance->units.size() - 1;
  if (!utterance->breaks.empty() && utterance->breaks.back().unit == unit) {
    double& length = utterance->breaks.back().milliseconds;
    length = std::min(length + milliseconds, kMaxBreakMs);
  } else {
    utterance->breaks.push_back({unit, milliseconds});
  }
}

/// A pause sign; behind a break it only says which kind of pause that one is.
void add_pause(Utterance* utterance, char sign) {
  const int64_t last = utterance->units.back();
  if (last >= kFirstPhone) {
    add_unit(utterance, pause_unit(sign), false);
  } else if (last != kUnitSilence && !utterance->breaks.empty() &&
             utterance->breaks.back().unit + 1 == utterance->units.size()) {
    utterance->units.back() = pause_unit(sign);
  }
}

void close(Utterance* utterance, bool clause) {
  if (!is_pause(static_cast<uint8_t>(utterance->units.back()))) {
    add_unit(utterance, clause ? kUnitComma : kUnitPeriod, false);
    if (utterance->words.empty() && !utterance->breaks.empty()) utterance->breaks.back().unit = 1;
  }
  add_unit(utterance, kUnitSilence, false);
}

}  // namespace

TextFrontEnd::TextFrontEnd(std::shared_ptr<const Model> model)
    : pronouncer_(std::move(model)), is_known_([this](std::string_view word) { return pronouncer_.is_known(word); }) {}

void TextFrontEnd::push(std::string_view text) { splitter_.push(text); }

void TextFrontEnd::finish() { splitter_.finish(); }

bool TextFrontEnd::next(Utterance* utterance) {
  while (std::optional<Sentence> sentence = splitter_.next()) {
    const std::vector<Spoken> spoken = normalize(sentence->text, is_known_);
    const std::vector<Phones> phones = pronouncer_.pronounce(spoken);
    *utterance = {};
    add_unit(utterance, kUnitSilence, false);
    for (size_t i = 0; i < spoken.size(); ++i) {
      if (spoken[i].kind == Spoken::kBreak) {
        add_break(utterance, spoken[i].milliseconds);
      } else if (spoken[i].kind == Spoken::kPause) {
        add_pause(utterance, spoken[i].text[0]);
      } else if (!phones[i].empty()) {
        add_word(utterance, spoken[i], phones[i]);
      }
    }
    if (utterance->words.empty() && utterance->breaks.empty()) continue;
    close(utterance, sentence->cut);
    utterance->begin = sentence->text.begin.front();
    utterance->end = sentence->text.end.back();
    utterance->paragraph_start = sentence->paragraph_start;
    utterance->clause = sentence->cut;
    return true;
  }
  return false;
}

}  // namespace pocketuni
