#include "format/reader.h"

#include <algorithm>

namespace pocketuni {

bool is_text(std::string_view bytes) {
  const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
  const uint8_t* const end = p + bytes.size();
  while (p < end) {
    const uint8_t lead = *p++;
    if (lead == 0) return false;
    if (lead < 0x80) continue;
    const int following = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4 || end - p < following) return false;
    // The second byte's range is narrower after some leads (Unicode 15, table 3-7); the rest are all 80..BF.
    const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (*p < low || *p > high) return false;
    for (int i = 1; i < following; ++i) {
      if ((p[i] & 0xC0) != 0x80) return false;
    }
    p += following;
  }
  return true;
}

std::string quoted(std::string_view name) {
  constexpr size_t kShown = 80;
  if (!is_text(name)) return "(not text)";
  if (name.size() <= kShown) return "'" + std::string(name) + "'";
  size_t cut = kShown;
  while ((name[cut] & 0xC0) == 0x80) --cut;
  return "'" + std::string(name.substr(0, cut)) + "...'";
}

const std::string* find_duplicate(const std::vector<const std::string*>& names) {
  // Sorting, not hashing: a file cannot choose names that make it slow.
  std::vector<const std::string*> sorted = names;
  std::sort(sorted.begin(), sorted.end(), [](const std::string* a, const std::string* b) { return *a < *b; });
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end(),
                                        [](const std::string* a, const std::string* b) { return *a == *b; });
  return twice == sorted.end() ? nullptr : *twice;
}

void Reader::fail(const std::string& fault) const {
  fail_format("section " + section_ + (place_.empty() ? "" : ", " + place_) + ": " + fault);
}

void Reader::need(uint64_t bytes) const {
  if (bytes <= remaining()) return;
  fail("ends too early: " + std::to_string(bytes) + " bytes expected at offset " + std::to_string(position_) + ", " +
       std::to_string(remaining()) + " left");
}

std::string Reader::text(const char* what) {
  const uint32_t size = u32();
  need(size);
  const std::string_view bytes(reinterpret_cast<const char*>(data_ + position_), size);
  if (!is_text(bytes))
    fail(std::string(what) + " at offset " + std::to_string(position_) + " is not UTF-8 without NUL");
  position_ += size;
  return std::string(bytes);
}

std::string Reader::name(const char* what) {
  std::string result = text(what);
  if (result.empty()) fail(std::string(what) + " before offset " + std::to_string(position_) + " is empty");
  return result;
}

uint32_t Reader::count(uint64_t entry_bytes, const char* what) {
  const uint32_t entries = u32();
  if (entries > remaining() / entry_bytes) {
    fail(std::to_string(entries) + " " + what + " do not fit into the " + std::to_string(remaining()) + " bytes left");
  }
  return entries;
}

void Reader::expect_end() const {
  if (remaining() > 0) {
    fail(std::to_string(remaining()) + " bytes behind the last entry, at offset " + std::to_string(position_));
  }
}

}  // namespace pocketuni
