#include "speech/units.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "format/reader.h"

namespace pocketuni {
namespace {

const char* const kNames[kUnitCount] = {
    "sil", ",",   ".",   "?",   "!",   "-",   "B",   "CH",  "D",   "DH",  "F",   "G",   "HH",  "JH",  "K",
    "L",   "M",   "N",   "NG",  "P",   "R",   "S",   "SH",  "T",   "TH",  "V",   "W",   "Y",   "Z",   "ZH",
    "AA0", "AA1", "AA2", "AE0", "AE1", "AE2", "AH0", "AH1", "AH2", "AO0", "AO1", "AO2", "AW0", "AW1", "AW2",
    "AY0", "AY1", "AY2", "EH0", "EH1", "EH2", "ER0", "ER1", "ER2", "EY0", "EY1", "EY2", "IH0", "IH1", "IH2",
    "IY0", "IY1", "IY2", "OW0", "OW1", "OW2", "OY0", "OY1", "OY2", "UH0", "UH1", "UH2", "UW0", "UW1", "UW2"};

constexpr size_t kMaxPhones = 64;

}  // namespace

const char* unit_name(uint8_t unit) { return unit < kUnitCount ? kNames[unit] : "?"; }

int parse_phone(std::string_view name) {
  if (name.empty() || name.size() > 3) return -1;
  char upper[4] = {0, 0, 0, 0};
  for (size_t i = 0; i < name.size(); ++i)
    upper[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[i])));
  const std::string_view key(upper, name.size());
  for (int unit = kFirstPhone; unit < kUnitCount; ++unit) {
    const std::string_view candidate = kNames[unit];
    if (candidate == key) return unit;
    if (unit >= kFirstVowel && key.size() == 2 && candidate.substr(0, 2) == key) return unit;
  }
  return -1;
}

Phones parse_phones(std::string_view text) {
  Phones phones;
  size_t at = 0;
  while ((at = text.find_first_not_of(' ', at)) != std::string_view::npos) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string_view name = text.substr(at, end - at);
    const int unit = parse_phone(name);
    if (unit < 0) {
      fail_argument(quoted(name) + " is not an ARPAbet phone; expected consonants such as HH and vowels with a " +
                    "stress such as AH0, separated by spaces");
    }
    if (phones.size() == kMaxPhones) fail_argument("a pronunciation has more than 64 phones: split it into words");
    phones.push_back(static_cast<uint8_t>(unit));
    at = end;
  }
  return phones;
}

std::string phones_text(const Phones& phones) {
  std::string text;
  for (uint8_t phone : phones) {
    if (!text.empty()) text += ' ';
    text += unit_name(phone);
  }
  return text;
}

void settle_stress(Phones* phones) {
  uint8_t* primary = nullptr;
  uint8_t* candidate = nullptr;
  for (uint8_t& phone : *phones) {
    if (!is_vowel(phone)) continue;
    if (stress_of(phone) == 1) {
      if (primary != nullptr) phone = with_stress(phone, 2);
      if (primary == nullptr) primary = &phone;
    } else if (candidate == nullptr || (stress_of(phone) == 2 && stress_of(*candidate) == 0)) {
      candidate = &phone;
    }
  }
  if (primary == nullptr && candidate != nullptr) *candidate = with_stress(*candidate, 1);
}

}  // namespace pocketuni
