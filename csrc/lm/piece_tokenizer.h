// Text to the pieces of a SentencePiece vocabulary and back, from the compact form that the importer writes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pocketuni {

/// Bytes, little-endian: "PUTK", u32 version 1, u32 kind, u32 flags, u32 id of the unknown piece, u32 pieces, u32 bytes
/// of the table of characters; the text that stands for an unknown piece (u8 length, bytes); each piece: f32 score, u8
/// type, u8 length, bytes; the table of characters as SentencePiece stores it (a double-array trie, then texts that end
/// with 0). docs/pocket.md, Tokenizer. Immutable: threads may share one.
class PieceTokenizer {
 public:
  /// Throws Error(kFormat), beginning with `where`, for what is no such blob or was damaged.
  PieceTokenizer(const std::string& where, const uint8_t* data, size_t size);

  size_t size() const { return pieces_.size(); }
  std::vector<int64_t> encode(std::string_view text) const;
  std::string decode(const int64_t* ids, size_t count) const;
  std::string decode(const std::vector<int64_t>& ids) const { return decode(ids.data(), ids.size()); }

 private:
  enum Kind : uint32_t { kUnigram, kBpe };
  enum Flags : uint32_t { kDummyPrefix = 1, kCollapseSpaces = 2, kByteFallback = 4 };
  enum class Type : uint8_t { kNormal, kUnknown, kControl, kUserDefined, kByte, kUnused };
  struct Piece {
    std::string text;
    float score;
    Type type;
  };
  struct Match {
    int id;  // -1 for none
    size_t length;
  };

  void check_table(const std::string& where) const;
  void sort_pieces();
  template <typename Found>
  void each_prefix(std::string_view text, Found found) const;
  Match user_defined(std::string_view text) const;
  std::pair<std::string_view, size_t> normalized_prefix(std::string_view text) const;
  std::string normalized(std::string_view text) const;
  std::vector<int> best_path(std::string_view text, std::vector<size_t>* lengths) const;
  std::vector<int> merged(std::string_view text, std::vector<size_t>* lengths) const;
  int find(std::string_view text) const;

  Kind kind_ = kUnigram;
  uint32_t flags_ = 0;
  int unknown_ = 0;
  std::string unknown_text_;
  std::vector<Piece> pieces_;
  std::vector<int> sorted_;     // ids of the pieces that text is cut into, by their bytes
  std::vector<int> byte_ids_;   // of each byte, -1 for none
  std::vector<uint32_t> trie_;  // of characters that are written otherwise
  std::string texts_;           // what they become, each ended with 0
  float least_ = 0, most_ = 0;  // scores of normal pieces
};

}  // namespace pocketuni
