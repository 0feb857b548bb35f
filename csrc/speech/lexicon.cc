#include "speech/lexicon.h"

#include <cstring>
#include <string>

#include "base/error.h"

namespace pocketuni {
namespace {

constexpr uint32_t kBlock = 16;
constexpr int kLetterEnd = 27, kPhoneEnd = 69, kLongestCode = 15;
constexpr size_t kHeader = 124, kMaxWord = 64, kMaxPhones = 64;
constexpr int kFilterHashes = 7;

[[noreturn]] void fail(const std::string& fault) { fail_format("blob lexicon.en: " + fault); }

uint32_t u32_at(const uint8_t* data) {
  uint32_t value;
  std::memcpy(&value, data, 4);
  return value;
}

/// The blob's start, checked to hold a header before anything of it is read.
const uint8_t* checked_header(const uint8_t* data, uint64_t size) {
  if (size < kHeader) fail(std::to_string(size) + " bytes, expected at least " + std::to_string(kHeader));
  if (std::memcmp(data, "PULX", 4) != 0) fail("does not start with PULX");
  if (u32_at(data + 4) != 1) {
    fail("version " + std::to_string(u32_at(data + 4)) + ", expected 1; update pocketuni");
  }
  return data;
}

/// FNV-1a, 64 bits.
uint64_t hash_of(std::string_view word) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (char c : word) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace

PrefixCode::PrefixCode(const uint8_t* lengths, int symbol_count, const char* what) {
  for (int i = 0; i < symbol_count; ++i) {
    if (lengths[i] > kLongestCode) fail(std::string(what) + ": a code of " + std::to_string(lengths[i]) + " bits");
    if (lengths[i] > 0) ++count[lengths[i]];
  }
  uint32_t code = 0;
  for (int length = 1; length <= kLongestCode; ++length) {
    code <<= 1;
    first[length] = static_cast<uint16_t>(code);
    code += count[length];
    if (code > 1u << length) fail(std::string(what) + ": too many codes");
  }
  if (code != 1u << kLongestCode) fail(std::string(what) + ": the code is not complete");
  for (int length = 1; length <= kLongestCode; ++length) {
    for (int i = 0; i < symbol_count; ++i) {
      if (lengths[i] == length) symbols.push_back(static_cast<uint8_t>(i));
    }
  }
}

/// A place in the stream, and the word that was read last.
struct Lexicon::Cursor {
  const uint8_t* stream;
  uint64_t at, end;  // bits
  char word[kMaxWord];
  size_t length = 0;

  uint32_t bit() {
    if (at >= end) fail("the stream ends within a word");
    const uint32_t value = stream[at >> 3] >> (7 - (at & 7)) & 1;
    ++at;
    return value;
  }

  int symbol(const PrefixCode& code) {
    uint32_t bits = 0;
    size_t index = 0;
    for (int length = 1; length <= kLongestCode; ++length) {
      bits = bits << 1 | bit();
      const uint32_t place = bits - code.first[length];
      if (bits >= code.first[length] && place < code.count[length]) return code.symbols[index + place];
      index += code.count[length];
    }
    fail("a code that stands for nothing");  // not reached: the code is complete
  }
};

Lexicon::Lexicon(const uint8_t* data, uint64_t size)
    : words_(u32_at(checked_header(data, size) + 8)),
      blocks_(u32_at(data + 12)),
      filter_bits_(u32_at(data + 16)),
      offsets_(data + kHeader),
      letters_(data + 24, kLetterEnd + 1, "letters"),
      phones_(data + 52, kPhoneEnd + 1, "phones") {
  const uint64_t stream_bytes = u32_at(data + 20);
  if (blocks_ != words_ / kBlock + (words_ % kBlock != 0)) fail("the number of blocks does not fit the words");
  if (filter_bits_ % 8 != 0) fail("the filter's bits are not a multiple of 8");
  const uint64_t expected = kHeader + 4 * uint64_t{blocks_} + filter_bits_ / 8 + stream_bytes;
  if (expected != size) fail(std::to_string(size) + " bytes, expected " + std::to_string(expected));
  filter_ = offsets_ + 4 * uint64_t{blocks_};
  stream_ = filter_ + filter_bits_ / 8;
  stream_bits_ = stream_bytes * 8;
  for (uint32_t block = 0; block < blocks_; ++block) {
    const uint32_t before = block > 0 ? block_offset(block - 1) : 0;
    const bool ascends = block == 0 ? block_offset(0) == 0 : block_offset(block) > before;
    if (!ascends || block_offset(block) >= stream_bits_) fail("block " + std::to_string(block) + " is out of place");
  }
}

uint32_t Lexicon::block_offset(uint32_t block) const { return u32_at(offsets_ + 4 * uint64_t{block}); }

void Lexicon::read_word(Cursor* cursor) const {
  size_t length = 0;
  for (int i = 0; i < 4; ++i) length = length << 1 | cursor->bit();
  if (length > cursor->length) fail("a word shares more letters than the word before it has");
  for (int letter; (letter = cursor->symbol(letters_)) != kLetterEnd;) {
    if (length == kMaxWord) fail("a word of more than 64 letters");
    cursor->word[length++] = letter == 26 ? '\'' : static_cast<char>('a' + letter);
  }
  cursor->length = length;
}

void Lexicon::read_phones(Cursor* cursor, Phones* phones) const {
  phones->clear();
  for (int phone; (phone = cursor->symbol(phones_)) != kPhoneEnd;) {
    if (phones->size() == kMaxPhones) fail("a pronunciation of more than 64 phones");
    phones->push_back(static_cast<uint8_t>(kFirstPhone + phone));
  }
}

bool Lexicon::find(std::string_view word, Phones* phones) const {
  uint32_t low = 0, high = blocks_;  // the last block whose first word is not behind `word` is in [low, high)
  Cursor cursor{stream_, 0, stream_bits_, {}, 0};
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    cursor.at = block_offset(middle);
    cursor.length = 0;
    read_word(&cursor);
    (std::string_view(cursor.word, cursor.length) <= word ? low : high) = middle;
  }
  if (blocks_ == 0) return false;
  cursor.at = block_offset(low);
  cursor.length = 0;
  const uint32_t count = low + 1 == blocks_ ? words_ - low * kBlock : kBlock;
  for (uint32_t i = 0; i < count; ++i) {
    read_word(&cursor);
    read_phones(&cursor, phones);
    const std::string_view found(cursor.word, cursor.length);
    if (found == word) return true;
    if (found > word) break;
  }
  phones->clear();
  return false;
}

bool Lexicon::is_known(std::string_view word) const {
  bool passes = filter_bits_ > 0;
  const uint64_t hash = hash_of(word);
  const uint64_t start = hash & 0xFFFFFFFF, step = hash >> 32 | 1;
  for (int i = 0; i < kFilterHashes && passes; ++i) {
    const uint64_t bit = (start + static_cast<uint64_t>(i) * step) % filter_bits_;
    passes = filter_[bit / 8] >> (bit % 8) & 1;
  }
  Phones phones;
  return passes || find(word, &phones);
}

}  // namespace pocketuni
