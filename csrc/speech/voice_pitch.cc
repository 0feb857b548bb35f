#include "speech/voice_pitch.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "speech/units.h"

namespace pocketuni {
namespace {

const double kMostMissing = 7 * std::log(2.0) / 12;
/// "We were away a year ago", as phoneticians use it: no unit of it is unvoiced.
const char* const kWords[] = {"W IY1", "W ER0", "AH0 W EY1", "AH0", "Y IH1 R", "AH0 G OW1"};

Utterance voiced_sentence() {
  Utterance utterance;
  const auto add = [&](uint8_t unit, bool first) {
    utterance.units.push_back(unit);
    utterance.flags.push_back(first ? 1 : 0);
  };
  add(kUnitSilence, false);
  for (const char* word : kWords) {
    const Phones phones = parse_phones(word);
    for (size_t i = 0; i < phones.size(); ++i) add(phones[i], i == 0);
  }
  add(kUnitPeriod, false);
  add(kUnitSilence, false);
  return utterance;
}

}  // namespace

double missing_pitch(VoiceEncoder* encoder, VoiceChain* chain, const std::vector<float>& speaker, double log_f0) {
  if (log_f0 == 0) return 0;
  const Utterance utterance = voiced_sentence();
  FramePlan plan;
  plan.plan(utterance, encoder->run(utterance, speaker), 1);
  std::vector<float> made = chain->read_log_f0(plan, speaker);
  const size_t end = std::min(made.size(), plan.start_of(utterance.units.size() - 2)), begin = plan.start_of(1);
  if (begin >= end) fail_format("the voice's towers give fewer frames than they get; the model is bad");
  const auto first = made.begin() + static_cast<ptrdiff_t>(begin), last = made.begin() + static_cast<ptrdiff_t>(end);
  std::nth_element(first, first + (last - first) / 2, last);
  const double missing = log_f0 - static_cast<double>(*(first + (last - first) / 2));
  return std::isfinite(missing) ? std::clamp(missing, -kMostMissing, kMostMissing) : 0;
}

}  // namespace pocketuni
