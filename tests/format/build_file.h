// Writes small model files in memory, valid or deliberately wrong: the tests' own writer, written from docs/format.md
// alone, so that reader and converter are not the only judges of each other.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/blake2b.h"
#include "format/model_file.h"

namespace build {

using pocketuni::Digest;
using Bytes = std::vector<uint8_t>;

class Writer {
 public:
  template <typename T>
  Writer& put(T value) {
    const auto* begin = reinterpret_cast<const uint8_t*>(&value);
    bytes.insert(bytes.end(), begin, begin + sizeof(T));
    return *this;
  }
  Writer& u8(uint8_t value) { return put(value); }
  Writer& u16(uint16_t value) { return put(value); }
  Writer& u32(uint64_t value) { return put(static_cast<uint32_t>(value)); }
  Writer& u64(uint64_t value) { return put(value); }
  Writer& i64(int64_t value) { return put(value); }
  Writer& str(const std::string& text) {
    u32(text.size());
    return raw(text.data(), text.size());
  }
  Writer& raw(const void* data, size_t size) {
    const auto* begin = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), begin, begin + size);
    return *this;
  }
  Writer& align(size_t alignment) {
    while (bytes.size() % alignment != 0) bytes.push_back(0);
    return *this;
  }
  Bytes bytes;
};

/// A tensor as it is to be stored; `rank` and `size` are what is written, right or wrong.
struct TensorPart {
  std::string name;
  uint8_t encoding;
  std::vector<uint32_t> dims;
  uint64_t offset, size;
  uint8_t rank = 0;
  uint16_t reserved = 0;
};

struct BlobPart {
  std::string name;
  uint64_t offset, size;
};

/// A model file in parts. Operands, dims and dtypes are written as they stand.
struct FileParts {
  std::string meta;
  std::vector<TensorPart> tensors;
  std::vector<pocketuni::TowerSpec> towers;
  std::vector<BlobPart> blobs;
  Bytes blob_bytes;  // behind the directory of blobs, which takes a multiple of 64
  Bytes data;
};

struct Section {
  std::string kind;
  Bytes bytes;
  uint32_t flags = 0;
};

inline Bytes tensor_section(const FileParts& parts) {
  Writer w;
  w.u32(parts.tensors.size());
  for (const TensorPart& tensor : parts.tensors) {
    w.str(tensor.name).u8(tensor.encoding).u8(tensor.rank ? tensor.rank : static_cast<uint8_t>(tensor.dims.size()));
    w.u16(tensor.reserved);
    for (uint32_t dim : tensor.dims) w.u32(dim);
    w.u64(tensor.offset).u64(tensor.size);
    Digest hash{};
    if (tensor.offset <= parts.data.size() && tensor.size <= parts.data.size() - tensor.offset) {
      hash = pocketuni::blake2b(parts.data.data() + tensor.offset, tensor.size);
    }
    w.put(hash);
  }
  return w.bytes;
}

inline void put_attribute(Writer& w, const pocketuni::Attribute& attribute) {
  w.str(attribute.name).u8(static_cast<uint8_t>(attribute.value.index()));
  switch (attribute.value.index()) {
    case 0:
      w.i64(std::get<0>(attribute.value));
      break;
    case 1:
      w.put(std::get<1>(attribute.value));
      break;
    case 2:
      w.str(std::get<2>(attribute.value));
      break;
    default:
      w.u32(std::get<3>(attribute.value).size());
      for (int64_t number : std::get<3>(attribute.value)) w.i64(number);
  }
}

inline void put_node(Writer& w, const pocketuni::NodeSpec& node) {
  w.str(node.op).str(node.name).u32(node.inputs.size());
  for (const pocketuni::Operand& operand : node.inputs) {
    using Operand = pocketuni::Operand;
    w.u32(operand.kind == Operand::kAbsent ? 0xFFFFFFFFu
                                           : operand.index | (operand.kind == Operand::kTensor ? 0x80000000u : 0));
  }
  w.u32(node.outputs.size());
  for (uint32_t output : node.outputs) w.u32(output);
  w.u32(node.attributes.size());
  for (const pocketuni::Attribute& attribute : node.attributes) put_attribute(w, attribute);
}

inline Bytes tower_section(const FileParts& parts) {
  Writer w;
  w.u32(parts.towers.size());
  for (const pocketuni::TowerSpec& tower : parts.towers) {
    w.str(tower.name).u32(tower.named_dims.size());
    for (const std::string& dim : tower.named_dims) w.str(dim);
    w.u32(tower.values.size());
    for (const pocketuni::ValueSpec& value : tower.values) {
      w.str(value.name).u8(static_cast<uint8_t>(value.dtype)).u8(static_cast<uint8_t>(value.dims.size())).u16(0);
      for (int64_t dim : value.dims) w.i64(dim);
    }
    for (const auto* indices : {&tower.inputs, &tower.outputs}) {
      w.u32(indices->size());
      for (uint32_t index : *indices) w.u32(index);
    }
    w.u32(tower.nodes.size());
    for (const pocketuni::NodeSpec& node : tower.nodes) put_node(w, node);
  }
  return w.bytes;
}

inline Bytes blob_section(const FileParts& parts) {
  Writer w;
  w.u32(parts.blobs.size());
  for (const BlobPart& blob : parts.blobs) w.str(blob.name).u64(blob.offset).u64(blob.size);
  w.align(64).raw(parts.blob_bytes.data(), parts.blob_bytes.size());
  return w.bytes;
}

inline std::vector<Section> sections_of(const FileParts& parts) {
  return {{"META", Bytes(parts.meta.begin(), parts.meta.end())},
          {"TENS", tensor_section(parts)},
          {"TOWR", tower_section(parts)},
          {"BLOB", blob_section(parts)},
          {"DATA", parts.data}};
}

template <typename T>
T get(const Bytes& file, size_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void set(Bytes& file, size_t offset, T value) {
  std::memcpy(file.data() + offset, &value, sizeof(T));
}

/// Makes the hashes right again after bytes were changed, as far as sections lie inside the file: what a reader then
/// still refuses, it refuses for the change itself.
inline void reseal(Bytes& file) {
  if (file.size() < 64) return;
  const uint64_t table = uint64_t{64} * get<uint32_t>(file, 12);
  if (table > file.size() - 64) return;
  for (size_t entry = 64; entry < 64 + table; entry += 64) {
    const uint64_t offset = get<uint64_t>(file, entry + 8), size = get<uint64_t>(file, entry + 16);
    if (offset > file.size() || size > file.size() - offset) continue;
    set(file, entry + 24, pocketuni::blake2b(file.data() + offset, size));
  }
  pocketuni::Blake2b hash;
  hash.update(file.data(), 48);
  hash.update(file.data() + 64, table);
  set(file, 48, hash.finish());
}

inline Bytes assemble(const std::vector<Section>& sections) {
  Writer w;
  const uint8_t magic[8] = {0x89, 'P', 'U', 'N', 'I', '\r', '\n', 0x1A};
  w.raw(magic, 8).u16(1).u16(0).u32(sections.size());
  w.bytes.resize(64 + 64 * sections.size());
  for (size_t i = 0; i < sections.size(); ++i) {
    w.align(64);
    const size_t entry = 64 + 64 * i;
    std::memcpy(w.bytes.data() + entry, sections[i].kind.data(), 4);
    set(w.bytes, entry + 4, sections[i].flags);
    set(w.bytes, entry + 8, uint64_t{w.bytes.size()});
    set(w.bytes, entry + 16, uint64_t{sections[i].bytes.size()});
    w.raw(sections[i].bytes.data(), sections[i].bytes.size());
  }
  w.bytes.resize(w.bytes.size() + 64);
  set(w.bytes, 24, uint64_t{w.bytes.size()});
  reseal(w.bytes);
  return std::move(w.bytes);
}

inline Bytes assemble(const FileParts& parts) { return assemble(sections_of(parts)); }

/// One tower `text`: y = linear(x, weight, bias), z = relu(y), with every kind of operand, dim and attribute.
inline FileParts sample() {
  using pocketuni::DType;
  using pocketuni::Operand;
  FileParts parts;
  parts.meta = R"({"name": "sample", "licence": "MIT"})";
  parts.tensors = {{"weight", 16, {3, 5}, 0, 320},
                   {"bias", 0, {3}, 320, 12},
                   {"table", 33, {2, 32}, 384, 36},
                   {"flags", 4, {2}, 448, 2},
                   {"empty", 3, {0, 7}, 512, 0}};
  parts.data.resize(512);
  for (size_t i = 0; i < 420; ++i) parts.data[i] = static_cast<uint8_t>(i * 31);
  parts.data[449] = 1;
  pocketuni::TowerSpec tower;
  tower.name = "text";
  tower.named_dims = {"batch", "sequence"};
  tower.values = {{"x", DType::kF32, {-2, -3, 5}}, {"y", DType::kF32, {-2, -3, 3}}, {"z", DType::kF32, {-2, -1, 3}}};
  tower.inputs = {0};
  tower.outputs = {2, 1};
  tower.nodes = {{"linear",
                  "first",
                  {{Operand::kValue, 0}, {Operand::kTensor, 0}, {Operand::kTensor, 1}, {Operand::kAbsent, 0}},
                  {1},
                  {{"activation", std::string("none")}}},
                 {"relu",
                  "second",
                  {{Operand::kValue, 1}},
                  {2},
                  {{"axis", int64_t{-1}}, {"eps", 0.5}, {"perm", std::vector<int64_t>{1, 0}}}}};
  parts.towers = {tower};
  parts.blobs = {{"vocab", 64, 10}, {"rules", 128, 64}};
  parts.blob_bytes.resize(128);
  for (size_t i = 0; i < 128; ++i) parts.blob_bytes[i] = i < 10 || i >= 64 ? 'a' : 0;
  return parts;
}

}  // namespace build
