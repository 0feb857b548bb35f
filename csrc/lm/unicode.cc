#include "lm/unicode.h"

#include <algorithm>

#include "speech/text_chars.h"

namespace pocketuni {
namespace {

/// Small letters first .. last lie `shift` behind their capitals; with `step` 2, each stands next to its own.
struct Case {
  char32_t first, last;
  int shift, step;
};

constexpr Case kCases[] = {
    {U'a', U'z', 32, 1},   {0xb5, 0xb5, -743, 1},  {0xe0, 0xf6, 32, 1},    {0xf8, 0xfe, 32, 1},
    {0xff, 0xff, -121, 1}, {0x101, 0x12f, 1, 2},   {0x131, 0x131, 232, 1}, {0x133, 0x137, 1, 2},
    {0x13a, 0x148, 1, 2},  {0x14b, 0x177, 1, 2},   {0x17a, 0x17e, 1, 2},   {0x17f, 0x17f, 300, 1},
    {0x1a1, 0x1a5, 1, 2},  {0x1b0, 0x1b0, 1, 1},   {0x1ce, 0x1dc, 1, 2},   {0x1df, 0x1ef, 1, 2},
    {0x1f9, 0x21f, 1, 2},  {0x223, 0x233, 1, 2},   {0x3ac, 0x3ac, 38, 1},  {0x3ad, 0x3af, 37, 1},
    {0x3b1, 0x3c1, 32, 1}, {0x3c2, 0x3c2, 31, 1},  {0x3c3, 0x3cb, 32, 1},  {0x3cc, 0x3cc, 64, 1},
    {0x3cd, 0x3ce, 63, 1}, {0x430, 0x44f, 32, 1},  {0x450, 0x45f, 80, 1},  {0x461, 0x481, 1, 2},
    {0x48b, 0x4bf, 1, 2},  {0x4c2, 0x4ce, 1, 2},   {0x4cf, 0x4cf, 15, 1},  {0x4d1, 0x52f, 1, 2},
    {0x561, 0x586, 48, 1}, {0x1e01, 0x1e95, 1, 2}, {0x1ea1, 0x1eff, 1, 2},
};

}  // namespace

std::u32string from_utf8(std::string_view text) {
  std::u32string result;
  while (!text.empty()) {
    char32_t code = 0;
    const size_t length = std::max<size_t>(1, decode_utf8(text, true, &code));
    result += code;
    text.remove_prefix(length);
  }
  return result;
}

std::string to_utf8(std::u32string_view text) {
  std::string result;
  for (char32_t c : text) {
    const auto tail = [&](int shift) { result += static_cast<char>(0x80 | (c >> shift & 0x3f)); };
    if (c < 0x80) {
      result += static_cast<char>(c);
    } else if (c < 0x800) {
      result += static_cast<char>(0xc0 | c >> 6);
      tail(0);
    } else if (c < 0x10000) {
      result += static_cast<char>(0xe0 | c >> 12);
      tail(6);
      tail(0);
    } else {
      result += static_cast<char>(0xf0 | c >> 18);
      tail(12);
      tail(6);
      tail(0);
    }
  }
  return result;
}

bool is_unicode_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

std::u32string upper_case(char32_t c) {
  if (c == 0xdf) return U"SS";
  for (const Case& range : kCases) {
    if (c < range.first || c > range.last || (c - range.first) % static_cast<char32_t>(range.step) != 0) continue;
    return std::u32string(1, static_cast<char32_t>(static_cast<int>(c) - range.shift));
  }
  return std::u32string(1, c);
}

}  // namespace pocketuni
