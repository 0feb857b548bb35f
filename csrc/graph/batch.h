// Runs a batch in parts where elements do not depend on each other: what one part computes stays in a core's cache from
// node to node, and threads work on parts of their own, with nothing to wait for. A row's result is the same as in one
// run, since no kernel's result for a row depends on the rows beside it.
#pragma once
#include <memory>
#include <vector>

#include "graph/lane.h"

namespace pocketuni {

class Batch {
 public:
  Batch(const Model::Tower& tower, const Kernels* kernels, ThreadPool* pool);

  /// Runs in parts and returns the outputs, views valid until the next run; null where one run of the whole is better
  /// or the only way. `whole` works with all threads.
  const std::vector<Tensor>* run(const std::vector<int64_t>& named_dims, const std::vector<Tensor>& inputs, Lane& whole,
                                 std::vector<OpProfile>* profile);

 private:
  /// What was decided for some values of the named dimensions. `part` 0: do not cut.
  struct Cut {
    std::vector<int64_t> named_dims;
    size_t dim = 0;
    int64_t elements = 0, part = 0;
    std::vector<Tensor> outputs;
    std::vector<size_t> offsets;  // of the outputs
    size_t bytes = 0;             // of them all
  };

  Cut& find_cut(const std::vector<int64_t>& named_dims);
  void decide(Cut& cut);
  /// Elements per part, or 0, where `all` are the types of the whole. Throws Error where one element alone cannot run.
  int64_t part_size(const Cut& cut, const std::vector<TensorType>& all);
  void run_part(const Cut& cut, Lane& lane, const std::vector<Tensor>& inputs, int64_t first,
                std::vector<OpProfile>* profile);

  const Model::Tower& tower_;
  ThreadPool* pool_;
  ThreadPool alone_{1};
  std::vector<std::unique_ptr<Lane>> lanes_;  // [thread]
  std::vector<Cut> cuts_;                     // most recently used first
  AlignedBuffer results_;
};

}  // namespace pocketuni
