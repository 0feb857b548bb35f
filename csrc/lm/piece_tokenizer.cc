#include "lm/piece_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <queue>

#include "base/error.h"
#include "format/reader.h"
#include "speech/text_chars.h"

namespace pocketuni {
namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81";        // U+2581 stands for a space within pieces
constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
constexpr float kUnknownPenalty = 10;                      // below the least score

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

/// Bytes of the first character; a faulty one is a character of its own.
size_t char_length(std::string_view text) {
  char32_t code = 0;
  return std::max<size_t>(1, decode_utf8(text, true, &code));
}

/// The first character and how many bytes it takes; U+FFFD for a byte that begins none.
std::pair<std::string_view, size_t> first_char(std::string_view text) {
  char32_t code = 0;
  const size_t length = decode_utf8(text, true, &code);
  if (code == 0xfffd && !starts_with(text, kReplacement)) return {kReplacement, 1};
  return {text.substr(0, length), length};
}

// A unit of a double-array trie, in the layout of darts-clone.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value_of(uint32_t unit) { return unit & 0x7fffffffu; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000ffu; }
uint32_t offset_of(uint32_t unit) { return unit >> 10 << ((unit & 0x200u) >> 6); }

}  // namespace

PieceTokenizer::PieceTokenizer(const std::string& where, const uint8_t* data, size_t size) {
  Reader reader(where, data, size);
  const auto bytes = [&](size_t count) {
    std::string text(count, '\0');
    for (char& c : text) c = static_cast<char>(reader.u8());
    return text;
  };
  if (size < 28 || bytes(4) != "PUTK" || reader.u32() != 1) reader.fail("this is no tokenizer that this version reads");
  const uint32_t kind = reader.u32();
  flags_ = reader.u32();
  const uint32_t unknown = reader.u32(), table_place = 6;
  if (kind > kBpe || flags_ > 7) reader.fail("the kind of tokenizer is not known");
  kind_ = static_cast<Kind>(kind);
  const uint32_t count = reader.count(table_place, "pieces"), table = reader.u32();
  unknown_text_ = bytes(reader.u8());
  byte_ids_.assign(256, -1);
  least_ = std::numeric_limits<float>::max();
  most_ = std::numeric_limits<float>::min();  // not the lowest: what SentencePiece starts with
  for (uint32_t id = 0; id < count; ++id) {
    Piece piece;
    const uint32_t bits = reader.u32();
    std::memcpy(&piece.score, &bits, sizeof bits);
    const uint8_t type = reader.u8();
    piece.text = bytes(reader.u8());
    if (type > static_cast<uint8_t>(Type::kUnused) || piece.text.empty() || !std::isfinite(piece.score)) {
      reader.fail("piece " + std::to_string(id) + " is faulty");
    }
    piece.type = static_cast<Type>(type);
    if (piece.type == Type::kNormal) {
      least_ = std::min(least_, piece.score);
      most_ = std::max(most_, piece.score);
    }
    if (piece.type == Type::kByte) {  // "<0x2E>"
      const long byte = piece.text.size() == 6 ? std::strtol(piece.text.c_str() + 1, nullptr, 16) : -1;
      if (byte < 0 || byte > 255) reader.fail("piece " + std::to_string(id) + " names no byte");
      byte_ids_[static_cast<size_t>(byte)] = static_cast<int>(id);
    }
    pieces_.push_back(std::move(piece));
  }
  if (unknown >= count) reader.fail("the unknown piece is not among the pieces");
  unknown_ = static_cast<int>(unknown);
  if (table > 0) {
    const uint32_t trie = reader.u32();
    if (table < 4 || trie % 4 != 0 || trie > table - 4) reader.fail("the table of characters is faulty");
    for (uint32_t i = 0; i < trie / 4; ++i) trie_.push_back(reader.u32());
    texts_ = bytes(table - 4 - trie);
    if (trie_.empty() || texts_.empty() || texts_.back() != '\0') reader.fail("the table of characters is faulty");
  }
  reader.expect_end();
  sort_pieces();
}

void PieceTokenizer::sort_pieces() {
  for (size_t id = 0; id < pieces_.size(); ++id) {
    const Type type = pieces_[id].type;
    if (type == Type::kNormal || type == Type::kUserDefined) sorted_.push_back(static_cast<int>(id));
  }
  std::sort(sorted_.begin(), sorted_.end(),
            [&](int a, int b) { return pieces_[static_cast<size_t>(a)].text < pieces_[static_cast<size_t>(b)].text; });
}

/// Calls `found(id, length)` for each piece that text begins with, the shortest first.
template <typename Found>
void PieceTokenizer::each_prefix(std::string_view text, Found found) const {
  auto first = sorted_.begin(), last = sorted_.end();
  const auto piece = [&](int id) -> const std::string& { return pieces_[static_cast<size_t>(id)].text; };
  for (size_t length = 1; length <= text.size() && first != last; ++length) {
    const auto byte = [&](int id) {
      return piece(id).size() < length ? -1 : static_cast<int>(static_cast<unsigned char>(piece(id)[length - 1]));
    };
    const int wanted = static_cast<unsigned char>(text[length - 1]);
    first = std::lower_bound(first, last, wanted, [&](int id, int value) { return byte(id) < value; });
    last = std::upper_bound(first, last, wanted, [&](int value, int id) { return value < byte(id); });
    if (first != last && piece(*first).size() == length) found(*first, length);
  }
}

int PieceTokenizer::find(std::string_view text) const {
  int result = -1;
  each_prefix(text, [&](int id, size_t length) {
    if (length == text.size()) result = id;
  });
  return result;
}

/// The longest piece that a user defined, at the start of the text: such ones are never cut.
PieceTokenizer::Match PieceTokenizer::user_defined(std::string_view text) const {
  Match match{-1, 0};
  each_prefix(text, [&](int id, size_t length) {
    if (pieces_[static_cast<size_t>(id)].type == Type::kUserDefined) match = {id, length};
  });
  return match;
}

/// What the start of a text is written as, and how many bytes that takes: the longest entry of the table, else a
/// character as it is.
std::pair<std::string_view, size_t> PieceTokenizer::normalized_prefix(std::string_view text) const {
  if (const Match match = user_defined(text); match.id >= 0) return {text.substr(0, match.length), match.length};
  size_t longest = 0;
  uint32_t value = 0;
  if (!trie_.empty()) {
    uint32_t node = offset_of(trie_[0]);
    for (size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      node ^= byte;
      if (node >= trie_.size() || label_of(trie_[node]) != byte) break;
      const uint32_t unit = trie_[node];
      node ^= offset_of(unit);
      if (node >= trie_.size()) break;
      if (has_leaf(unit)) {
        longest = i + 1;
        value = value_of(trie_[node]);
      }
    }
  }
  if (longest > 0 && value < texts_.size()) return {std::string_view(texts_.c_str() + value), longest};
  return first_char(text);
}

/// Text as pieces spell it: characters in their plain form, spaces visible.
std::string PieceTokenizer::normalized(std::string_view text) const {
  const bool collapse = (flags_ & kCollapseSpaces) != 0;
  std::string result;
  bool begun = false, after_space = collapse;
  while (!text.empty()) {
    const auto [raw, length] = normalized_prefix(text);
    std::string_view chars = raw;
    text.remove_prefix(length);
    while (after_space && !chars.empty() && chars[0] == ' ') chars.remove_prefix(1);
    if (!chars.empty()) {
      if (!begun && (flags_ & kDummyPrefix) != 0) result += kSpace;
      begun = true;
      for (char c : chars) c == ' ' ? void(result += kSpace) : result.push_back(c);
      after_space = collapse && chars.back() == ' ';
    }
  }
  while (collapse && result.size() >= kSpace.size() &&
         std::string_view(result).substr(result.size() - kSpace.size()) == kSpace) {
    result.resize(result.size() - kSpace.size());
  }
  return result;
}

/// The pieces with the greatest sum of scores (Kudo 2018, section 3.2), and their lengths.
std::vector<int> PieceTokenizer::best_path(std::string_view text, std::vector<size_t>* lengths) const {
  struct Node {
    int id = -1;
    size_t from = 0;
    float score = 0;
    bool reached = false;
  };
  std::vector<Node> nodes(text.size() + 1);
  nodes[0].reached = true;
  for (size_t from = 0; from < text.size(); from += char_length(text.substr(from))) {
    const float before = nodes[from].score;
    const auto offer = [&](int id, size_t length, double score) {
      Node& node = nodes[from + length];
      if (node.reached && !(score + before > node.score)) return;
      node = {id, from, static_cast<float>(score + before), true};
    };
    const size_t single = char_length(text.substr(from));
    bool known = false;
    each_prefix(text.substr(from), [&](int id, size_t length) {
      const Piece& piece = pieces_[static_cast<size_t>(id)];
      const double own = static_cast<double>(static_cast<float>(length) * most_) - 0.1;
      offer(id, length, piece.type == Type::kUserDefined ? own : static_cast<double>(piece.score));
      known = known || length == single;
    });
    if (!known) offer(unknown_, single, static_cast<double>(least_ - kUnknownPenalty));
  }
  std::vector<int> ids;
  for (size_t end = text.size(); end > 0; end = nodes[end].from) {
    ids.push_back(nodes[end].id);
    lengths->push_back(end - nodes[end].from);
  }
  std::reverse(ids.begin(), ids.end());
  std::reverse(lengths->begin(), lengths->end());
  return ids;
}

/// Characters joined in pairs, the best scored pair first (Sennrich 2016), and the lengths of the results.
std::vector<int> PieceTokenizer::merged(std::string_view text, std::vector<size_t>* lengths) const {
  struct Symbol {
    size_t begin, length;
    ptrdiff_t before, after;
    bool whole;  // of a user's own piece
  };
  struct Pair {
    float score;
    ptrdiff_t left, right;
    size_t length;
    bool operator<(const Pair& other) const {
      return score < other.score || (score == other.score && left > other.left);
    }
  };
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < text.size();) {
    const Match own = user_defined(text.substr(at));
    const size_t length = own.id >= 0 ? own.length : char_length(text.substr(at));
    const auto place = static_cast<ptrdiff_t>(symbols.size());
    symbols.push_back({at, length, place - 1, place + 1, own.id >= 0});
    at += length;
  }
  if (!symbols.empty()) symbols.back().after = -1;
  std::priority_queue<Pair> pairs;
  const auto consider = [&](ptrdiff_t left, ptrdiff_t right) {
    if (left < 0 || right < 0) return;
    const Symbol &a = symbols[static_cast<size_t>(left)], &b = symbols[static_cast<size_t>(right)];
    if (a.whole || b.whole) return;
    const int id = find(text.substr(a.begin, a.length + b.length));
    if (id >= 0) pairs.push({pieces_[static_cast<size_t>(id)].score, left, right, a.length + b.length});
  };
  for (size_t i = 1; i < symbols.size(); ++i) consider(static_cast<ptrdiff_t>(i) - 1, static_cast<ptrdiff_t>(i));
  while (!pairs.empty()) {
    const Pair pair = pairs.top();
    pairs.pop();
    Symbol &a = symbols[static_cast<size_t>(pair.left)], &b = symbols[static_cast<size_t>(pair.right)];
    if (a.length == 0 || b.length == 0 || a.length + b.length != pair.length) continue;  // joined otherwise meanwhile
    a.length = pair.length;
    a.after = b.after;
    b.length = 0;
    if (a.after >= 0) symbols[static_cast<size_t>(a.after)].before = pair.left;
    consider(a.before, pair.left);
    consider(pair.left, a.after);
  }
  std::vector<int> ids;
  for (const Symbol& symbol : symbols) {
    if (symbol.length == 0) continue;
    const int id = find(text.substr(symbol.begin, symbol.length));
    ids.push_back(id < 0 ? unknown_ : id);
    lengths->push_back(symbol.length);
  }
  return ids;
}

std::vector<int64_t> PieceTokenizer::encode(std::string_view text) const {
  const std::string plain = normalized(text);
  std::vector<size_t> lengths;
  const std::vector<int> ids = kind_ == kUnigram ? best_path(plain, &lengths) : merged(plain, &lengths);
  std::vector<int64_t> result;
  size_t at = 0;
  for (size_t i = 0; i < ids.size(); at += lengths[i], ++i) {
    if (ids[i] != unknown_) {
      result.push_back(ids[i]);
      continue;
    }
    const bool bytes = (flags_ & kByteFallback) != 0;
    for (size_t j = at; bytes && j < at + lengths[i]; ++j) {
      const int id = byte_ids_[static_cast<unsigned char>(plain[j])];
      result.push_back(id < 0 ? unknown_ : id);
    }
    // What is unknown counts once, however long it is.
    if (!bytes && (i == 0 || ids[i - 1] != unknown_)) result.push_back(unknown_);
  }
  return result;
}

std::string PieceTokenizer::decode(const int64_t* ids, size_t count) const {
  std::string text;
  const auto is_byte = [&](int64_t id) {
    return id >= 0 && static_cast<size_t>(id) < pieces_.size() && pieces_[static_cast<size_t>(id)].type == Type::kByte;
  };
  bool at_start = true;  // the space before the first piece is not part of the text
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || static_cast<size_t>(ids[i]) >= pieces_.size()) continue;
    const Piece& piece = pieces_[static_cast<size_t>(ids[i])];
    if (piece.type == Type::kControl || (piece.type == Type::kUnknown && unknown_text_.empty())) continue;
    if (piece.type == Type::kUnknown) {
      text += unknown_text_;
    } else if (is_byte(ids[i])) {
      std::string run;
      for (; i < count && is_byte(ids[i]); ++i) {
        const std::string& name = pieces_[static_cast<size_t>(ids[i])].text;
        run.push_back(static_cast<char>(std::strtol(name.c_str() + 1, nullptr, 16)));
      }
      --i;
      for (std::string_view rest = run; !rest.empty();) {
        const auto [chars, length] = first_char(rest);
        text += chars;
        rest.remove_prefix(length);
      }
    } else {
      std::string_view spelled = piece.text;
      const bool eats = (flags_ & (kDummyPrefix | kCollapseSpaces)) != 0;
      bool eaten = false;
      if (at_start && eats && starts_with(spelled, kSpace)) {
        spelled.remove_prefix(kSpace.size());
        eaten = true;
      }
      for (size_t at = 0; at < spelled.size();) {
        const bool space = starts_with(spelled.substr(at), kSpace);
        space ? text.push_back(' ') : text.push_back(spelled[at]);
        at += space ? kSpace.size() : 1;
      }
      // Where spaces collapse, all that begin a text fall.
      if (eaten && spelled.empty() && (flags_ & kCollapseSpaces) != 0) continue;
    }
    at_start = false;
  }
  return text;
}

}  // namespace pocketuni
