// Runs a tower in parts where they do not depend on each other: some elements of a batch, or a stretch of a long
// sequence together with the rows around it that windows reach. What one part computes stays in a core's cache from
// node to node, and threads work on parts of their own, with nothing to wait for. A row's result is the same as in one
// run, since no kernel's result for a row depends on the rows beside it.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "graph/lane.h"
#include "graph/time_plan.h"

namespace pocketuni {

class Parts {
 public:
  Parts(const Model::Tower& tower, const Kernels* kernels, ThreadPool* pool);

  /// Runs in parts and returns the outputs, views valid until the next run; null where one run of the whole is better
  /// or the only way. `whole` works with all threads.
  const std::vector<Tensor>* run(const std::vector<int64_t>& named_dims, const std::vector<Tensor>& inputs, Lane& whole,
                                 std::vector<OpProfile>* profile);

 private:
  /// What was decided for some values of the named dimensions. `part` 0: do not cut. Elements are those of a batch or
  /// rows of time.
  struct Cut {
    std::vector<int64_t> named_dims;
    size_t dim = 0;
    int64_t elements = 0, part = 0;
    int64_t before = 0, after = 0;        // elements that a part needs around its own
    int64_t rows = 0;                     // of each output
    int64_t unit = 1, rows_per_unit = 1;  // parts begin at multiples of the unit; rows of the outputs for each
    std::vector<char> cut_inputs;         // [input]: it has these elements
    std::vector<Tensor> outputs;
    std::vector<size_t> offsets;  // of the outputs
    size_t bytes = 0;             // of them all
  };

  Cut& find_cut(const std::vector<int64_t>& named_dims);
  void decide(Cut& cut);
  /// Decides whether to cut along the batch, or along time, where `all` are the types of the whole. Throws Error where
  /// a part cannot run.
  void cut_batch(Cut& cut, const std::vector<TensorType>& all);
  void cut_time(Cut& cut, const std::vector<TensorType>& all);
  void find_reach(Cut& cut, const TimeUnit& unit, const Plan& probe);
  const TimePlan* time_plan();  // null where time cannot be cut
  void run_part(const Cut& cut, Lane& lane, const std::vector<Tensor>& inputs, int64_t first,
                std::vector<OpProfile>* profile);

  const Model::Tower& tower_;
  ThreadPool* pool_;
  ThreadPool alone_{1};
  std::vector<std::unique_ptr<Lane>> lanes_;  // [thread]
  bool time_known_ = false;
  std::optional<TimePlan> time_;  // once it is known: how time can be cut, if it can
  std::vector<Cut> cuts_;         // most recently used first
  AlignedBuffer results_;
};

}  // namespace pocketuni
