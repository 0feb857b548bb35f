// Header and section table: what lies where, and that it is what was written.
#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "format/model_parser.h"

namespace pocketuni {
namespace {

constexpr uint8_t kMagic[8] = {0x89, 'P', 'U', 'N', 'I', '\r', '\n', 0x1A};
constexpr uint64_t kHeaderSize = 64, kEntrySize = 64, kTailSize = 64, kAlignment = 64;
constexpr uint32_t kMaxSections = 64;
constexpr uint32_t kMustKnow = 1;
constexpr const char* kKnown[] = {"META", "TENS", "TOWR", "BLOB", "STAT", "DATA"};
constexpr const char* kOptional[] = {"BLOB", "STAT"};

template <typename T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

bool is_known(const std::string& kind) {
  return std::any_of(std::begin(kKnown), std::end(kKnown), [&](const char* known) { return kind == known; });
}

bool all_zero(const uint8_t* begin, const uint8_t* end) {
  return std::all_of(begin, end, [](uint8_t byte) { return byte == 0; });
}

/// A section kind for an error text; what is not printable ASCII becomes '?'.
std::string shown(std::string kind) {
  for (char& c : kind) {
    if (c < 0x21 || c > 0x7E) c = '?';
  }
  return kind;
}

}  // namespace

void ModelParser::parse() {
  parse_header();
  parse_meta();
  parse_blobs();
  parse_tensors();
  parse_towers();
  parse_states();
}

void ModelParser::parse_header() {
  const uint8_t* header = file_.base_;
  if (file_.size_ == 0) fail_format("the file is empty");
  const uint64_t compared = std::min<uint64_t>(file_.size_, sizeof(kMagic));
  if (std::memcmp(header, kMagic, compared) != 0) fail_format("not a .puni model file (the first 8 bytes differ)");
  if (file_.size_ < kHeaderSize) {
    fail_format("the file has " + std::to_string(file_.size_) + " bytes, the header alone takes 64: it is cut off");
  }
  const uint16_t major = load<uint16_t>(header + 8);
  if (major != 1) {
    fail_format("format version " + std::to_string(major) + " is not known to this reader (it reads version 1)");
  }
  const uint64_t features = load<uint64_t>(header + 16);
  if (features != 0) {
    fail_format("needs features that this reader does not know (bits " + std::to_string(features) +
                "): use a newer pocketuni");
  }
  const uint64_t size = load<uint64_t>(header + 24);
  if (size != file_.size_) {
    fail_format("the header says " + std::to_string(size) + " bytes, the file has " + std::to_string(file_.size_) +
                (size > file_.size_ ? ": it is cut off" : ": something was appended"));
  }
  if (!all_zero(header + 32, header + 48)) fail_format("reserved bytes of the header are not zero");
  parse_table(header);
}

void ModelParser::parse_table(const uint8_t* header) {
  const uint32_t count = load<uint32_t>(header + 12);
  if (count < 1 || count > kMaxSections) {
    fail_format("number of sections is " + std::to_string(count) + ", not 1 to " + std::to_string(kMaxSections));
  }
  const uint64_t table_end = kHeaderSize + count * kEntrySize;
  if (table_end > file_.size_) fail_format("the section table lies outside the file");
  Blake2b hash;
  hash.update(header, 48);
  hash.update(header + kHeaderSize, count * kEntrySize);
  if (hash.finish() != load<Digest>(header + 48)) {
    fail_format("the hash of header and section table does not match: the file is damaged");
  }
  uint64_t end = table_end;
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* entry = header + kHeaderSize + i * kEntrySize;
    const std::string kind(reinterpret_cast<const char*>(entry), 4);
    if (!all_zero(entry + 40, entry + 64)) fail_format("section " + shown(kind) + ": reserved bytes are not zero");
    sections_.push_back({kind, load<uint32_t>(entry + 4), load<uint64_t>(entry + 8), load<uint64_t>(entry + 16),
                         load<Digest>(entry + 24)});
    check_section(sections_.back(), end);
    end = sections_.back().offset + sections_.back().size;
  }
  if (file_.size_ - end < kTailSize) {
    fail_format("64 zero bytes expected behind the last section, the file has " + std::to_string(file_.size_ - end));
  }
  check_zero(end, file_.size_, "behind the last section");
  check_kinds();
}

void ModelParser::check_section(const Section& section, uint64_t earliest) const {
  const std::string name = "section " + shown(section.kind);
  const std::string place = " (offset " + std::to_string(section.offset) + ", size " + std::to_string(section.size) +
                            ", file " + std::to_string(file_.size_) + ")";
  if ((section.flags & ~kMustKnow) != 0) fail_format(name + ": unknown flags " + std::to_string(section.flags));
  if ((section.flags & kMustKnow) != 0 && !is_known(section.kind)) {
    fail_format(name + " is not known to this reader and may not be skipped: use a newer pocketuni");
  }
  if (section.offset > file_.size_ || section.size > file_.size_ - section.offset) {
    fail_format(name + " lies outside the file" + place);
  }
  if (section.offset % kAlignment != 0) fail_format(name + " is not aligned to 64 bytes" + place);
  if (section.offset < earliest) fail_format(name + " overlaps what lies before it or is out of order" + place);
  check_zero(earliest, section.offset, "before " + name);
  if (section.kind == "DATA") return;  // mapped, never read as a whole
  if (blake2b(file_.base_ + section.offset, section.size) != section.hash) {
    fail_format(name + ": the hash does not match, the file is damaged" + place);
  }
}

void ModelParser::check_kinds() const {
  for (const char* known : kKnown) {
    const auto is_it = [&](const Section& section) { return section.kind == known; };
    const auto found = std::count_if(sections_.begin(), sections_.end(), is_it);
    if (found > 1) fail_format("section " + std::string(known) + " appears " + std::to_string(found) + " times");
    const bool optional = std::any_of(std::begin(kOptional), std::end(kOptional),
                                      [&](const char* kind) { return std::strcmp(kind, known) == 0; });
    if (found == 0 && !optional) fail_format("section " + std::string(known) + " is missing");
  }
}

void ModelParser::check_zero(uint64_t begin, uint64_t end, const std::string& what) const {
  if (all_zero(file_.base_ + begin, file_.base_ + end)) return;
  fail_format("bytes " + what + " are not zero (offset " + std::to_string(begin) + " to " + std::to_string(end) + ")");
}

const ModelParser::Section* ModelParser::find(const char* kind) const {
  for (const Section& section : sections_) {
    if (section.kind == kind) return &section;
  }
  return nullptr;
}

Reader ModelParser::reader(const char* kind) const {
  const Section* section = find(kind);
  return Reader(kind, file_.base_ + section->offset, section->size);
}

}  // namespace pocketuni
