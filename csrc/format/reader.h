// A cursor over one section that cannot leave it. Every fault becomes Error(kFormat) that names section and offset.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/blake2b.h"
#include "base/error.h"

namespace pocketuni {

/// Well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF) without NUL.
bool is_text(std::string_view bytes);
/// A name from a file for an error text: in quotes, cut when it is long, a placeholder when it is not text.
std::string quoted(std::string_view name);
/// The first name that occurs twice, or null.
const std::string* find_duplicate(const std::vector<const std::string*>& names);

class Reader {
 public:
  Reader(std::string section, const uint8_t* data, uint64_t size)
      : section_(std::move(section)), data_(data), size_(size) {}

  uint8_t u8() { return take<uint8_t>(); }
  uint16_t u16() { return take<uint16_t>(); }
  uint32_t u32() { return take<uint32_t>(); }
  uint64_t u64() { return take<uint64_t>(); }
  int64_t i64() { return take<int64_t>(); }
  double f64() { return take<double>(); }
  Digest digest() { return take<Digest>(); }

  /// A string that may be empty; `what` names it in errors.
  std::string text(const char* what);
  /// A string that may not be empty.
  std::string name(const char* what);
  /// A count of entries that take at least `entry_bytes` each: what is reserved for them is bounded by the file.
  uint32_t count(uint64_t entry_bytes, const char* what);
  void expect_end() const;

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return size_ - position_; }
  const std::string& section() const { return section_; }

  /// Where the reader is, put before every error of this section: "section TOWR, tower 'text'".
  void set_place(std::string place) { place_ = std::move(place); }
  [[noreturn]] void fail(const std::string& fault) const;

 private:
  template <typename T>
  T take() {
    need(sizeof(T));
    T value;
    std::memcpy(&value, data_ + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  void need(uint64_t bytes) const;

  std::string section_, place_;
  const uint8_t* data_;
  uint64_t size_, position_ = 0;
};

}  // namespace pocketuni
