// A model file, mapped and verified. Everything reachable from a ModelFile has been checked against docs/format.md:
// offsets, sizes, indices, ranks, names. It is immutable, so any number of threads and sessions may share one.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/blake2b.h"

namespace pocketuni {

enum class Encoding : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kI32 = 2,
  kI64 = 3,
  kBool = 4,
  kGemmF32 = 16,
  kGemmF16 = 17,
  kGemmI8 = 18,
  kGemmI4 = 19,
  kRowsI8 = 32,
  kRowsI4 = 33,
};
enum class DType : uint8_t { kF32 = 0, kI32 = 1, kI64 = 2, kBool = 3 };

const char* encoding_name(Encoding encoding);
const char* dtype_name(DType dtype);
size_t dtype_size(DType dtype);
/// Bytes that a tensor of this encoding and these dims takes. Throws on overflow or dims that the encoding forbids.
uint64_t encoded_size(Encoding encoding, const std::vector<int64_t>& dims);

struct TensorEntry {
  std::string name;
  Encoding encoding;
  std::vector<int64_t> dims;
  const uint8_t* data;  // 64-byte aligned, inside the map
  uint64_t size;
  Digest hash;
};

/// A dim of a value: >= 0 constant, -1 computed, <= -2 the named dimension with index -2 - d.
using Dim = int64_t;
constexpr Dim kComputed = -1;

struct ValueSpec {
  std::string name;
  DType dtype;
  std::vector<Dim> dims;
};

/// What a node reads: a value, a tensor of the file, or nothing.
struct Operand {
  enum Kind { kValue, kTensor, kAbsent } kind;
  uint32_t index;
};

struct Attribute {
  std::string name;
  std::variant<int64_t, double, std::string, std::vector<int64_t>> value;
};

struct NodeSpec {
  std::string op, name;
  std::vector<Operand> inputs;
  std::vector<uint32_t> outputs;
  std::vector<Attribute> attributes;
};

/// An input that the next run takes from an output of this one: places in a tower's lists of inputs and outputs.
struct StatePair {
  uint32_t input, output;
};

struct TowerSpec {
  std::string name;
  std::vector<std::string> named_dims;
  std::vector<ValueSpec> values;
  std::vector<uint32_t> inputs, outputs;
  std::vector<NodeSpec> nodes;
  std::vector<StatePair> states;
};

struct Blob {
  std::string name;
  const uint8_t* data;
  uint64_t size;
};

class ModelFile {
 public:
  /// Maps and verifies a file. Throws Error(kIo) or Error(kFormat), both naming `path`.
  static std::shared_ptr<const ModelFile> open(const std::string& path);
  /// The same over memory that the caller keeps alive and unchanged, 64-byte aligned or copied when it is not.
  static std::shared_ptr<const ModelFile> from_memory(const void* data, size_t size);
  ~ModelFile();

  const std::string& path() const { return path_; }  // "<memory>" for from_memory
  uint64_t file_size() const { return size_; }
  const std::string& meta_json() const { return meta_; }
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  const std::vector<TowerSpec>& towers() const { return towers_; }
  const std::vector<Blob>& blobs() const { return blobs_; }

  /// Reads the weights of towers whose names begin with `prefix` into pages that are as large as the system has: those
  /// that no cache holds come twice as fast from there. Tables stay mapped, of which a run takes a few rows. Nothing
  /// else may use the file meanwhile. Throws Error(kIo).
  void read_weights(const std::string& prefix) const;

  /// Throws Error(kIo) when the mapped file has become shorter since it was opened: what lay behind its end cannot be
  /// read any more. Cheap; sessions ask before they read. Should it happen during a read, the system ends the process
  /// with SIGBUS (docs/robustness.md).
  void require_whole() const;

  /// Recomputes the hash of DATA and of every tensor: reads the whole file. Returns the faults found, one text each.
  std::vector<std::string> verify_weights() const;

 private:
  ModelFile() = default;
  friend class ModelParser;

  std::string path_, meta_;
  const uint8_t* base_ = nullptr;
  uint64_t size_ = 0;
  void* map_ = nullptr;                    // to be unmapped, or null
  int mapped_file_ = -1;                   // its descriptor
  std::unique_ptr<unsigned char[]> copy_;  // from_memory of unaligned data
  uint64_t data_offset_ = 0, data_size_ = 0;
  Digest data_hash_{};
  std::vector<TensorEntry> tensors_;
  std::vector<TowerSpec> towers_;
  std::vector<Blob> blobs_;
};

}  // namespace pocketuni
