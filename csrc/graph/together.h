// Runs several towers of a model at once: a backbone that they share runs once, towers that share nothing run beside
// each other.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graph/session.h"

namespace pocketuni {

/// One caller at a time. Results are bit for bit those of a Session for each tower.
class Together {
 public:
  /// Throws Error(kInvalidArgument) for an unknown tower, one that is named twice, and none.
  Together(std::shared_ptr<const Model> model, const std::vector<std::string>& towers,
           const SessionOptions& options = {});
  ~Together();

  size_t size() const;
  const TowerSpec& spec(size_t tower) const;

  /// `inputs` [tower], in the order of its spec's. Inputs of two towers are equal where dtype, shape and contents are.
  /// Returns [tower][output]: views valid until the next run. Throws as Session::run does.
  const std::vector<std::vector<Tensor>>& run(const std::vector<std::vector<Tensor>>& inputs);

  /// Starts (from zero) or stops timing.
  void set_profiling(bool on);
  /// [tower] -> the nodes that runs computed for it; those of a backbone stand with the first tower that has it.
  std::vector<std::vector<OpProfile>> profile() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pocketuni
