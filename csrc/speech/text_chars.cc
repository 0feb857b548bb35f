#include "speech/text_chars.h"

#include <algorithm>
#include <cstddef>

namespace pocketuni {
namespace {

// The letter without its accent; '_' where there is none (those with several are in kSpellings).
const char kLatin[] =  // U+00C0 .. U+024F
    "AAAAAAACEEEEIIIIDNOOOOO_OUUUUYTsaaaaaaaceeeeiiiidnooooo_ouuuuytyAaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGg"
    "HhHhIiIiIiIiIiIiJjKkkLlLlLlLlLlNnNnNnnNnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzsbBBb___C"
    "c_DDd____FfG___IKkl__NnOOo__Pp_____tTtTUu_VYyZz_____________DDdLLlNNnAaIiOoUuUuUuUuUu_AaAa__GgGgKkOo"
    "Oo__jDDdGg__NnAa__OoAaAaEeEeIiIiOoOoRrRrUuUuSsTt__HhNd__ZzAaEeOoOoOoOoYylnt___ACcLTsz__BU_EeJj_qRrYy";
const char kLatinAdditional[] =  // U+1E00 .. U+1EFF
    "AaBbBbBbCcDdDdDdDdDdEeEeEeEeEeFfGgHhHhHhHhHhIiIiKkKkKkLlLlLlLlMmMmMmNnNnNnNnOoOoOoOoPpPpRrRrRrRrSsSs"
    "SsSsSsTtTtTtTtUuUuUuUuUuVvVvWwWwWwWwWwXxXxYyZzZzZzhtwyas____AaAaAaAaAaAaAaAaAaAaAaAaEeEeEeEeEeEeEeEe"
    "IiIiOoOoOoOoOoOoOoOoOoOoOoOoUuUuUuUuUuUuUuYyYyYyYy____Yy";
static_assert(sizeof(kLatin) == 0x250 - 0xC0 + 1 && sizeof(kLatinAdditional) == 0x101, "one letter a code point");

struct Spelling {
  char32_t code;
  const char* text;
};

const Spelling kSpellings[] = {
    {0xA2, "\x83"},
    {0xA3, "\x80"},
    {0xA5, "\x82"},
    {0xA7, "\x8F"},
    {0xA9, "\x90"},
    {0xAA, "a"},
    {0xAB, "\""},
    {0xAE, "\x91"},
    {0xB0, "\x86"},
    {0xB1, "\x8A"},
    {0xB2, "\x95"},
    {0xB3, "\x96"},
    {0xB5, "\x87"},
    {0xB4, "'"},
    {0xB7, " "},
    {0xB9, "^1"},
    {0xBA, "\x86"},
    {0xBB, "\""},
    {0xBC, " 1/4"},
    {0xBD, " 1/2"},
    {0xBE, " 3/4"},
    {0xC6, "AE"},
    {0xD7, "\x88"},
    {0xDE, "Th"},
    {0xDF, "ss"},
    {0xE6, "ae"},
    {0xF7, "\x89"},
    {0xFE, "th"},
    {0x132, "IJ"},
    {0x133, "ij"},
    {0x14A, "Ng"},
    {0x14B, "ng"},
    {0x152, "OE"},
    {0x153, "oe"},
    {0x2BC, "'"},
    {0x37E, "?"},
    {0x2010, "-"},
    {0x2011, "-"},
    {0x2012, "\x93"},
    {0x2013, "\x93"},
    {0x2014, "\x94"},
    {0x2015, "\x94"},
    {0x2018, "'"},
    {0x2019, "'"},
    {0x201A, "'"},
    {0x201B, "'"},
    {0x201C, "\""},
    {0x201D, "\""},
    {0x201E, "\""},
    {0x201F, "\""},
    {0x2022, "\x92"},
    {0x2023, "\x92"},
    {0x2026, "..."},
    {0x2028, "\n"},
    {0x2029, "\n\n"},
    {0x2030, "\x9A"},
    {0x2032, "'"},
    {0x2033, "\""},
    {0x2039, "'"},
    {0x203A, "'"},
    {0x203C, "!!"},
    {0x203D, "?!"},
    {0x2043, "\x92"},
    {0x2044, "/"},
    {0x2047, "??"},
    {0x2048, "?!"},
    {0x2049, "!?"},
    {0x2070, "^0"},
    {0x20A9, "\x85"},
    {0x20AC, "\x81"},
    {0x20B9, "\x84"},
    {0x2103,
     "\x86"
     "C"},
    {0x2109,
     "\x86"
     "F"},
    {0x2116, "No. "},
    {0x2122, ""},
    {0x2126, "\x9B"},
    {0x212A, "K"},
    {0x212B, "A"},
    {0x2153, " 1/3"},
    {0x2154, " 2/3"},
    {0x2155, " 1/5"},
    {0x2156, " 2/5"},
    {0x2157, " 3/5"},
    {0x2158, " 4/5"},
    {0x2159, " 1/6"},
    {0x215A, " 5/6"},
    {0x215B, " 1/8"},
    {0x215C, " 3/8"},
    {0x215D, " 5/8"},
    {0x215E, " 7/8"},
    {0x2190, " "},
    {0x2192, "\x99"},
    {0x21D2, "\x99"},
    {0x2212, "-"},
    {0x2215, "/"},
    {0x2217, "*"},
    {0x2219, " "},
    {0x221A, "\x97"},
    {0x221E, "\x98"},
    {0x2236, ":"},
    {0x2248, "\x8B"},
    {0x2260, "\x8E"},
    {0x2264, "\x8C"},
    {0x2265, "\x8D"},
    {0x22C5, "\x88"},
    {0x25AA, "\x92"},
    {0x25CF, "\x92"},
    {0x25E6, "\x92"},
    {0x3001, ", "},
    {0x3002, ". "},
    {0x300C, "\""},
    {0x300D, "\""},
    {0x301C, "~"},
    {0xFB00, "ff"},
    {0xFB01, "fi"},
    {0xFB02, "fl"},
    {0xFB03, "ffi"},
    {0xFB04, "ffl"},
    {0xFB05, "st"},
    {0xFB06, "st"},
    {0xFFE0, "\x83"},
    {0xFFE1, "\x80"},
    {0xFFE5, "\x82"},
    {0xFFE6, "\x85"},
};

const char* const kGreek[] = {"alpha", "beta",   "gamma",   "delta", "epsilon", "zeta",    "eta",  "theta", "iota",
                              "kappa", "lambda", "mu",      "nu",    "xi",      "omicron", "pi",   "rho",   "sigma",
                              "sigma", "tau",    "upsilon", "phi",   "chi",     "psi",     "omega"};

const char* find_spelling(char32_t code) {
  for (const Spelling& spelling : kSpellings) {
    if (spelling.code == code) return spelling.text;
  }
  return nullptr;
}

bool is_invisible(char32_t code) {
  return code == 0xAD || (code >= 0x300 && code <= 0x36F) || (code >= 0x200B && code <= 0x200F) ||
         (code >= 0x202A && code <= 0x202E) || (code >= 0x2060 && code <= 0x206F) ||
         (code >= 0x20D0 && code <= 0x20FF) || (code >= 0xFE00 && code <= 0xFE0F) || code == 0xFEFF ||
         (code >= 0xE0000 && code <= 0xE01EF) || (code >= 0x1AB0 && code <= 0x1AFF);
}

void fold_ascii(char32_t code, std::string* out) {
  if (code == '\n' || code == '\v') {
    *out += '\n';
  } else if (code == '\f') {
    *out += "\n\n";
  } else if (code == '\t' || code == '\r') {
    *out += ' ';
  } else if (code == '`') {
    *out += ' ';  // Markdown's code marks, and the grave accent that some type as a quote
  } else if (code >= ' ' && code < 0x7F) {
    *out += static_cast<char>(code);
  } else {
    *out += ' ';
  }
}

void fold_range(char32_t code, std::string* out) {
  char letter = '_';
  if (code >= 0xC0 && code < 0x250) letter = kLatin[code - 0xC0];
  if (code >= 0x1E00 && code < 0x1F00) letter = kLatinAdditional[code - 0x1E00];
  if (code >= 0xFF01 && code <= 0xFF5E) return fold_ascii(code - 0xFEE0, out);
  if (code >= 0x1D400 && code < 0x1D6A4)
    letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(code - 0x1D400) % 52];
  if (code >= 0x1D7CE && code <= 0x1D7FF) letter = static_cast<char>('0' + (code - 0x1D7CE) % 10);
  if (code >= 0x2080 && code <= 0x2089) letter = static_cast<char>('0' + (code - 0x2080));
  if (code >= 0x24B6 && code <= 0x24CF) letter = static_cast<char>('A' + (code - 0x24B6));
  if (code >= 0x24D0 && code <= 0x24E9) letter = static_cast<char>('a' + (code - 0x24D0));
  if (letter != '_') {
    *out += letter;
  } else if (code >= 0x2074 && code <= 0x2079) {
    *out += '^';
    *out += static_cast<char>('0' + (code - 0x2070));
  } else if ((code >= 0x391 && code <= 0x3A9) || (code >= 0x3B1 && code <= 0x3C9)) {
    *out += ' ';
    *out += kGreek[code - (code >= 0x3B1 ? 0x3B1 : 0x391)];
    *out += ' ';
  } else {
    *out += ' ';
  }
}

}  // namespace

void FoldedText::append(char c, uint64_t from, uint64_t to) {
  text += c;
  begin.push_back(from);
  end.push_back(to);
}

void FoldedText::cut(size_t size) {
  text.resize(std::min(size, text.size()));
  begin.resize(std::min(size, begin.size()));
  end.resize(std::min(size, end.size()));
}

FoldedText FoldedText::slice(size_t from, size_t to) const {
  FoldedText part;
  part.text = text.substr(from, to - from);
  part.begin.assign(begin.begin() + static_cast<std::ptrdiff_t>(from), begin.begin() + static_cast<std::ptrdiff_t>(to));
  part.end.assign(end.begin() + static_cast<std::ptrdiff_t>(from), end.begin() + static_cast<std::ptrdiff_t>(to));
  return part;
}

size_t decode_utf8(std::string_view bytes, bool last, char32_t* code) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  *code = 0xFFFD;
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    *code = lead;
    return 1;
  }
  if (lead < 0xC2 || lead > 0xF4) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  // The second byte's range is narrower after some leads: no overlong forms, no surrogates, nothing past U+10FFFF.
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t value = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i >= bytes.size()) return last ? i : 0;
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xBF)) return i;
    value = value << 6 | (byte(i) & 0x3F);
  }
  *code = value;
  return length;
}

void fold(char32_t code, std::string* out) {
  if (code < 0x80) return fold_ascii(code, out);
  if (is_invisible(code)) return;
  if (const char* spelling = find_spelling(code)) {
    *out += spelling;
    return;
  }
  fold_range(code, out);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = to_lower(c);
  return result;
}

bool in_list(std::string_view word, const char* list) {
  if (word.empty()) return false;
  const std::string_view names = list;
  for (size_t at = 0; at < names.size();) {
    const size_t end = std::min(names.find(' ', at), names.size());
    if (names.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace pocketuni
