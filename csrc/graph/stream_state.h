// What a stream keeps between calls: private to the stream's files.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/thread_pool.h"
#include "graph/row_buffer.h"
#include "graph/stream.h"
#include "graph/time_plan.h"
#include "graph/tower.h"

namespace pocketuni {

inline size_t stream_bytes(const TensorType& type) {
  return static_cast<size_t>(element_count(type.shape)) * dtype_size(type.dtype);
}

struct StreamSession::State {
  /// A node that reads a value, and whether through a window.
  struct Reader {
    size_t node;
    bool windowed;
  };

  std::shared_ptr<const Model> model;
  const Model::Tower* tower;
  const TowerSpec* spec;
  const Kernels* kernels;
  ThreadPool threads;
  TimePlan plan;
  std::vector<std::vector<Reader>> readers;  // [value]: of nodes that the outputs need
  std::vector<char> live;                    // [node]: the outputs need it

  bool prepared = false, finished = false;
  int64_t delivered = 0;  // rows pulled
  int64_t step = 1;       // rows of the results that are computed at once
  std::vector<int64_t> named_dims;
  std::vector<TensorType> types;              // [value], with the sample size for time
  std::vector<AlignedBuffer> fixed;           // [value]: inputs and results without time
  std::vector<char> is_set;                   // [value]: a fixed input that was given
  std::vector<RowBuffer> rows;                // [value]
  std::vector<int64_t> ready, need;           // [value]: rows that can be, and that must be computed
  std::vector<RunContext> contexts;           // [node]
  std::vector<std::vector<InputInfo>> infos;  // [node]
  BufferPool blocks;
  AlignedBuffer scratch;
  std::vector<Tensor> outputs;

  State(std::shared_ptr<const Model> m, const std::string& name, const SessionOptions& options);

  bool timed(uint32_t value) const { return plan.axes[value] >= 0; }
  size_t axis(uint32_t value) const { return static_cast<size_t>(plan.axes[value]); }
  bool timed(const Operand& operand) const { return operand.kind == Operand::kValue && timed(operand.index); }
  bool windowed(size_t node, size_t operand) const { return operand == 0 && plan.maps[node].kind == TimeMap::kWindow; }
  std::string where() const { return "tower '" + spec->name + "': "; }

  // What happens once for each sequence of shapes: stream_prepare.cc.
  void find_readers();
  void prepare(const std::vector<Tensor>& pushed);
  void bind(uint32_t value, const Shape& shape, std::vector<int64_t>& dims) const;
  void make_contexts();
  void run_fixed(size_t node);

  // What happens to rows: stream_rows.cc.
  void check_rows(const std::vector<Tensor>& pushed) const;
  void find_ready();
  int64_t results_ready() const;
  void compute_to(int64_t row);
  void run_node(size_t node);
  void drop_unread(uint32_t value);
  void clear();
};

}  // namespace pocketuni
