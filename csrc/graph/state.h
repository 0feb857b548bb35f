// Runs a tower step by step: what one run gives as its state, the next one takes.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graph/session.h"

namespace pocketuni {

/// For towers with state pairs (docs/format.md, `STAT`). The state starts as zeros. One caller at a time; sessions over
/// one model are independent of each other.
class StateSession {
 public:
  /// Throws Error(kInvalidArgument) for a tower without state.
  StateSession(std::shared_ptr<const Model> model, const std::string& tower, const SessionOptions& options = {});
  ~StateSession();

  const TowerSpec& spec() const;
  const char* isa() const;
  int threads() const;
  /// Values that every step is given, and values that it gives: inputs and outputs without the state.
  const std::vector<uint32_t>& inputs() const;
  const std::vector<uint32_t>& outputs() const;

  /// One step: `inputs` in the order of inputs(). The results, in the order of outputs(), are views valid until the
  /// next step. Throws Error(kInvalidArgument) for inputs that do not fit the tower, or sizes that are not those of the
  /// steps before; the state is then as it was.
  const std::vector<Tensor>& run(const std::vector<Tensor>& inputs);
  /// Back to zeros.
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pocketuni
