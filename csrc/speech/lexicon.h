// The pronouncing dictionary of a model file, read in place: sorted words in blocks, Huffman-coded.
//
// The blob `lexicon.en`, little-endian:
//   0   4 bytes   "PULX"
//   4   u32       version 1
//   8   u32       words
//   12  u32       blocks: ceil(words / 16)
//   16  u32       bits of the filter, a multiple of 8
//   20  u32       bytes of the stream
//   24  28 u8     code lengths of a .. z, apostrophe, end of word
//   52  70 u8     code lengths of the phones (unit - 6), end of pronunciation
//   122 2 bytes   zero
//   124 u32 each  bit offset in the stream of each block, ascending, the first 0
//   ..  filter, then stream, to the blob's end
// A word is 4 bits of how many letters it shares with the word before (0 for the first of a block), its further
// letters, the end, its phones, the end. Codes are canonical, at most 15 bits, first bit in a byte's highest. The
// filter is a Bloom filter of short words of the language, whether or not they are stored: they need no entry when the
// letter-to-sound network is right about them. Written by tools/distill/make_lexicon.py.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "speech/units.h"

namespace pocketuni {

/// Canonical Huffman code of at most 70 symbols.
class PrefixCode {
 public:
  /// Lengths 0 .. 15, 0 for a symbol that does not occur. Throws Error(kFormat) unless they make a complete code.
  PrefixCode(const uint8_t* lengths, int symbols, const char* what);

  uint16_t first[17] = {}, count[17] = {};  // by length: the first code, how many there are
  std::vector<uint8_t> symbols;             // by length, then by symbol
};

class Lexicon {
 public:
  /// Views `data`, which stays alive and unchanged. Throws Error(kFormat) for what does not have the form above.
  Lexicon(const uint8_t* data, uint64_t size);

  /// Looks up a word of a .. z and apostrophes. Throws Error(kFormat) when the stream is damaged there.
  bool find(std::string_view word, Phones* phones) const;
  /// Whether a word is stored or passes the filter of short words.
  bool is_known(std::string_view word) const;
  uint32_t size() const { return words_; }

 private:
  struct Cursor;
  void read_word(Cursor* cursor) const;
  void read_phones(Cursor* cursor, Phones* phones) const;
  uint32_t block_offset(uint32_t block) const;

  uint32_t words_, blocks_, filter_bits_;
  const uint8_t *offsets_, *filter_, *stream_;
  uint64_t stream_bits_;
  PrefixCode letters_, phones_;
};

}  // namespace pocketuni
