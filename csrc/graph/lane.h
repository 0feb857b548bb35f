// Memory and plans for one run at a time of a tower. A session has one for whole inputs, which works with all threads,
// and where it cuts a batch one for each thread.
#pragma once
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "graph/plan.h"

namespace pocketuni {

class Lane {
 public:
  Lane(const Model::Tower& tower, const Kernels* kernels, ThreadPool* pool)
      : tower_(tower), kernels_(kernels), pool_(pool) {}

  /// The plan for these values of the named dimensions, made when it is not one of the last eight.
  Plan& plan(const std::vector<int64_t>& named_dims);

  /// Runs the nodes; `inputs` are data in the order of the tower's. The plan's outputs then view this lane's memory.
  /// Seconds of each node are added to `profile` where there is one. Throws std::bad_alloc or Error(kOutOfMemory).
  void run(Plan& plan, const std::vector<const void*>& inputs, std::vector<OpProfile>* profile);

  /// Takes the memory that `run` needs, so that it cannot fail.
  void reserve(const Plan& plan);

 private:
  const Model::Tower& tower_;
  const Kernels* kernels_;
  ThreadPool* pool_;
  AlignedBuffer arena_;
  std::vector<std::unique_ptr<Plan>> plans_;  // most recently used first
};

}  // namespace pocketuni
