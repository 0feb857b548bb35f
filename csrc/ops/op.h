// The op contract. An op is made once per node when a model is opened (attributes parsed, weights bound), says the
// shape of its result for given input shapes, how much scratch it needs, and runs. Ops are stateless and shared by
// sessions.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "format/model_file.h"
#include "kernels/kernels.h"

namespace pocketuni {

using Shape = std::vector<int64_t>;

int64_t element_count(const Shape& shape);
std::string shape_text(const Shape& shape);

struct TensorType {
  DType dtype = DType::kF32;
  Shape shape;
};

/// A view of an activation, row-major and contiguous.
struct Tensor {
  TensorType type;
  void* data = nullptr;
  const float* f32() const { return static_cast<const float*>(data); }
  float* f32() { return static_cast<float*>(data); }
};

/// What an op sees of its inputs before a run. `tensor` is the bound weight or constant, or null for an activation.
struct InputInfo {
  bool present = false;
  TensorType type;  // for weights: dims of the tensor
  const TensorEntry* tensor = nullptr;
};

/// Which part of a long sequence an op computes, when it runs on a chunk: where the rows along time of input 0 and of
/// the result begin, and how many rows input 0 has in all (the largest int64 while its end is not known and not near).
struct TimeChunk {
  int64_t input_first, output_first, input_total;
};

/// Which rows along time a row of an op's result depends on. kRows: row t on row t of every input that has time.
/// kWindow: row t on rows floor((t * down + first) / up) .. floor((t * down + last) / up) of input 0, and on row t of
/// the others; such an op reads `RunContext::chunk`. kBatch: as kRows, but the axis is that of a batch, of which the op
/// needs whole elements. kNone: the op cannot run on chunks.
struct TimeMap {
  enum Kind { kNone, kRows, kWindow, kBatch } kind = kNone;
  int64_t up = 1, down = 1, first = 0, last = 0;

  static TimeMap rows_if(bool condition) { return {condition ? kRows : kNone, 1, 1, 0, 0}; }
  static TimeMap batch_if(bool condition) { return {condition ? kBatch : kNone, 1, 1, 0, 0}; }
};

/// What an op may use while it runs.
struct RunContext {
  const Kernels* kernels;
  ThreadPool* pool;
  std::vector<Tensor> inputs;  // absent and weight-encoded inputs have data == null
  std::vector<Tensor> outputs;
  unsigned char* scratch;                  // scratch_bytes(...), 64-byte aligned
  const std::vector<int64_t>* named_dims;  // values of the tower's named dimensions in this run
  const TimeChunk* chunk = nullptr;        // null: the whole sequence
};

class Op {
 public:
  virtual ~Op() = default;
  /// Types of the results. `named_dims` are the values of the named dimensions. Throws Error with what is wrong.
  virtual std::vector<TensorType> infer(const std::vector<InputInfo>& inputs,
                                        const std::vector<int64_t>& named_dims) const = 0;
  /// Bytes of scratch for these inputs and this many threads.
  virtual size_t scratch_bytes(const std::vector<InputInfo>& inputs, int threads) const;
  /// True when the result may share the memory of input 0; `run` then copies nothing if the two are the same.
  virtual bool aliases_input() const;
  /// `axes`: the axis of time of each input, -1 for one without. The default is kNone.
  virtual TimeMap time_map(const std::vector<InputInfo>& inputs, const std::vector<int>& axes) const;
  virtual void run(RunContext& context) const = 0;
};

/// Makes the op of a node; `inputs` tell which operands are weights. Throws Error naming op and node.
std::unique_ptr<Op> make_op(const NodeSpec& node, const std::vector<InputInfo>& inputs);

}  // namespace pocketuni
