#include "speech/normalize.h"

#include "speech/normalize_tokens.h"

namespace pocketuni {
namespace {

using Rule = bool (*)(Scan&);

// In order: the first that applies wins, so what looks at more context comes first.
const Rule kRules[] = {read_markup, read_web,   read_date,         read_time, read_phone, read_money,
                       read_number, read_roman, read_abbreviation, read_word, read_symbol};

int strength(char pause) { return pause == ',' ? 0 : pause == '-' ? 1 : pause == '.' ? 2 : 3; }

/// Neighbouring pauses become the strongest of them; none stands before the first word.
std::vector<Spoken> merge_pauses(std::vector<Spoken> spoken) {
  std::vector<Spoken> merged;
  for (Spoken& item : spoken) {
    if (item.kind == Spoken::kPause) {
      if (merged.empty()) continue;
      Spoken& last = merged.back();
      if (last.kind == Spoken::kPause) {
        if (strength(item.text[0]) > strength(last.text[0])) last.text = item.text;
        last.end = item.end;
        continue;
      }
    }
    merged.push_back(std::move(item));
  }
  return merged;
}

}  // namespace

std::vector<Spoken> normalize(const FoldedText& sentence, const IsKnown& is_known) {
  Scan scan(sentence, is_known);
  while (!scan.done()) {
    for (const Rule rule : kRules) {
      if (rule(scan)) break;
    }
  }
  return merge_pauses(scan.take());
}

std::string spoken_text(const std::vector<Spoken>& spoken) {
  std::string text;
  for (const Spoken& item : spoken) {
    const bool attached = item.kind == Spoken::kPause && item.text != "-";
    if (!text.empty() && !attached) text += ' ';
    if (item.kind == Spoken::kBreak) {
      text += '<' + std::to_string(static_cast<long>(item.milliseconds)) + '>';
    } else if (item.kind == Spoken::kPhones) {
      text += "[[" + item.text + "]]";
    } else {
      text += item.text;
    }
  }
  return text;
}

}  // namespace pocketuni
