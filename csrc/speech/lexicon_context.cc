#include "speech/lexicon_context.h"

#include <algorithm>

#include "speech/text_chars.h"

namespace pocketuni {
namespace {

// What stands before a verb, and before a noun or an adjective.
const char kBeforeVerb[] =
    "to will would can could may might must shall should i you we they not don't doesn't didn't can't couldn't won't "
    "wouldn't shouldn't let's please who i'll you'll we'll they'll he'll she'll i'd you'd we'd they'd did do does "
    "cannot never always and";
const char kBeforeNoun[] =
    "the a an this that my your his her its our their no any each every some of in on for with these those new old "
    "first last same another such great good more most own";
const char kPerfect[] = "have has had was were been be being is are i've you've we've they've having get got already";

struct Homograph {
  const char *word, *noun, *verb;
  bool verb_by_default;
};

const Homograph kHomographs[] = {
    {"abuse", "AH0 B Y UW1 S", "AH0 B Y UW1 Z", false},
    {"address", "AE1 D R EH2 S", "AH0 D R EH1 S", true},
    {"advocate", "AE1 D V AH0 K AH0 T", "AE1 D V AH0 K EY2 T", false},
    {"alternate", "AO1 L T ER0 N AH0 T", "AO1 L T ER0 N EY2 T", false},
    {"appropriate", "AH0 P R OW1 P R IY0 AH0 T", "AH0 P R OW1 P R IY0 EY2 T", false},
    {"associate", "AH0 S OW1 S IY0 AH0 T", "AH0 S OW1 S IY0 EY2 T", true},
    {"attribute", "AE1 T R AH0 B Y UW2 T", "AH0 T R IH1 B Y UW2 T", false},
    {"close", "K L OW1 S", "K L OW1 Z", true},
    {"combat", "K AA1 M B AE2 T", "K AH0 M B AE1 T", false},
    {"compound", "K AA1 M P AW2 N D", "K AH0 M P AW1 N D", false},
    {"conduct", "K AA1 N D AH0 K T", "K AH0 N D AH1 K T", false},
    {"conflict", "K AA1 N F L IH0 K T", "K AH0 N F L IH1 K T", false},
    {"console", "K AA1 N S OW0 L", "K AH0 N S OW1 L", false},
    {"content", "K AA1 N T EH0 N T", "K AH0 N T EH1 N T", false},
    {"contest", "K AA1 N T EH0 S T", "K AH0 N T EH1 S T", false},
    {"contract", "K AA1 N T R AE2 K T", "K AH0 N T R AE1 K T", false},
    {"contrast", "K AA1 N T R AE2 S T", "K AH0 N T R AE1 S T", false},
    {"convert", "K AA1 N V ER0 T", "K AH0 N V ER1 T", true},
    {"convict", "K AA1 N V IH0 K T", "K AH0 N V IH1 K T", false},
    {"deliberate", "D IH0 L IH1 B ER0 AH0 T", "D IH0 L IH1 B ER0 EY2 T", false},
    {"desert", "D EH1 Z ER0 T", "D IH0 Z ER1 T", false},
    {"duplicate", "D UW1 P L AH0 K AH0 T", "D UW1 P L AH0 K EY2 T", false},
    {"elaborate", "IH0 L AE1 B ER0 AH0 T", "IH0 L AE1 B ER0 EY2 T", false},
    {"estimate", "EH1 S T AH0 M AH0 T", "EH1 S T AH0 M EY2 T", false},
    {"excuse", "IH0 K S K Y UW1 S", "IH0 K S K Y UW1 Z", true},
    {"export", "EH1 K S P AO0 R T", "IH0 K S P AO1 R T", false},
    {"extract", "EH1 K S T R AE2 K T", "IH0 K S T R AE1 K T", true},
    {"graduate", "G R AE1 JH AH0 W AH0 T", "G R AE1 JH AH0 W EY2 T", true},
    {"house", "HH AW1 S", "HH AW1 Z", false},
    {"import", "IH1 M P AO2 R T", "IH2 M P AO1 R T", false},
    {"incline", "IH1 N K L AY0 N", "IH0 N K L AY1 N", false},
    {"increase", "IH1 N K R IY2 S", "IH2 N K R IY1 S", false},
    {"insult", "IH1 N S AH2 L T", "IH2 N S AH1 L T", false},
    {"intimate", "IH1 N T AH0 M AH0 T", "IH1 N T AH0 M EY2 T", false},
    {"moderate", "M AA1 D ER0 AH0 T", "M AA1 D ER0 EY2 T", false},
    {"object", "AA1 B JH EH0 K T", "AH0 B JH EH1 K T", false},
    {"perfect", "P ER1 F IH2 K T", "P ER0 F EH1 K T", false},
    {"permit", "P ER1 M IH2 T", "P ER0 M IH1 T", true},
    {"present", "P R EH1 Z AH0 N T", "P R IY0 Z EH1 N T", false},
    {"produce", "P R OW1 D UW0 S", "P R AH0 D UW1 S", true},
    {"progress", "P R AA1 G R EH2 S", "P R AH0 G R EH1 S", false},
    {"project", "P R AA1 JH EH0 K T", "P R AH0 JH EH1 K T", false},
    {"protest", "P R OW1 T EH2 S T", "P R AH0 T EH1 S T", false},
    {"rebel", "R EH1 B AH0 L", "R IH0 B EH1 L", false},
    {"record", "R EH1 K ER0 D", "R AH0 K AO1 R D", false},
    {"refuse", "R EH1 F Y UW2 Z", "R AH0 F Y UW1 Z", true},
    {"reject", "R IY1 JH EH0 K T", "R IH0 JH EH1 K T", true},
    {"separate", "S EH1 P ER0 IH0 T", "S EH1 P ER0 EY2 T", false},
    {"subject", "S AH1 B JH IH0 K T", "S AH0 B JH EH1 K T", false},
    {"suspect", "S AH1 S P EH2 K T", "S AH0 S P EH1 K T", true},
    {"transfer", "T R AE1 N S F ER0", "T R AE0 N S F ER1", false},
    {"transport", "T R AE1 N S P AO0 R T", "T R AE0 N S P AO1 R T", false},
    {"upset", "AH1 P S EH2 T", "AH0 P S EH1 T", true},
    {"use", "Y UW1 S", "Y UW1 Z", true},
    {"wind", "W IH1 N D", "W AY1 N D", false},
};

const char* homograph(std::string_view word, std::string_view previous, std::string_view next) {
  const Homograph* end = kHomographs + sizeof(kHomographs) / sizeof(*kHomographs);
  const Homograph* found = std::lower_bound(
      kHomographs, end, word, [](const Homograph& item, std::string_view key) { return item.word < key; });
  if (found == end || found->word != word) return nullptr;
  if (in_list(previous, kBeforeVerb)) return found->verb;
  if (in_list(previous, kBeforeNoun)) return found->noun;
  if (word == "close" && (in_list(previous, "so very too how is are was were be get got stay") || next == "to"))
    return found->noun;
  if (in_list(next, "the my your his her our their it them him me us")) return found->verb;
  return found->verb_by_default ? found->verb : found->noun;
}

}  // namespace

const char* pronunciation_in_context(std::string_view word, std::string_view previous, std::string_view next,
                                     bool vowel_follows) {
  if (word == "the") return vowel_follows ? "DH IY0" : "DH AH0";
  if (word == "a") return "AH0";
  if (word == "to") return vowel_follows || next.empty() ? "T UW1" : "T AH0";
  if (word == "read") {
    const bool past = in_list(previous, kPerfect) || in_list(previous, "he she it who");
    return past ? "R EH1 D" : "R IY1 D";
  }
  if (word == "live") {
    const bool adjective =
        in_list(next,
                "music show shows performance audience concert broadcast stream streaming video tv television "
                "event coverage ammunition wire feed updates demo chat animals") ||
        in_list(previous, "a broadcast streamed recorded aired");
    return adjective ? "L AY1 V" : "L IH1 V";
  }
  if (word == "lead") {
    const bool metal = previous == "of" || in_list(next, "paint pipe pipes poisoning pencil bullet bullets acid");
    return metal ? "L EH1 D" : "L IY1 D";
  }
  if (word == "tear") return in_list(next, "gas duct ducts") || previous == "single" ? "T IH1 R" : "T EH1 R";
  if (word == "tears") return in_list(previous, "it he she that") ? "T EH1 R Z" : "T IH1 R Z";
  if (word == "wound") return in_list(previous, kBeforeNoun) || in_list(previous, "to") ? "W UW1 N D" : "W AW1 N D";
  if (word == "minute") return in_list(next, "details detail amounts amount") ? "M AY0 N UW1 T" : "M IH1 N AH0 T";
  if (word == "bow") return in_list(previous, "to take") ? "B AW1" : "B OW1";
  if (word == "bass") return in_list(next, "fishing") || previous == "sea" ? "B AE1 S" : "B EY1 S";
  if (word == "uses") return in_list(previous, kBeforeNoun) ? "Y UW1 S IH0 Z" : "Y UW1 Z IH0 Z";
  if (word == "used") return next == "to" && !in_list(previous, kPerfect) ? "Y UW1 S T" : "Y UW1 Z D";
  return homograph(word, previous, next);
}

const char* letter_name(char letter) {
  static const char* const names[] = {"EY1",
                                      "B IY1",
                                      "S IY1",
                                      "D IY1",
                                      "IY1",
                                      "EH1 F",
                                      "JH IY1",
                                      "EY1 CH",
                                      "AY1",
                                      "JH EY1",
                                      "K EY1",
                                      "EH1 L",
                                      "EH1 M",
                                      "EH1 N",
                                      "OW1",
                                      "P IY1",
                                      "K Y UW1",
                                      "AA1 R",
                                      "EH1 S",
                                      "T IY1",
                                      "Y UW1",
                                      "V IY1",
                                      "D AH1 B AH0 L Y UW0",
                                      "EH1 K S",
                                      "W AY1",
                                      "Z IY1"};
  return is_upper(letter) ? names[letter - 'A'] : "";
}

}  // namespace pocketuni
