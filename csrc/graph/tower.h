// A tower made ready to run: its ops with their constants bound. Immutable, shared by sessions.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "format/model_file.h"
#include "graph/session.h"
#include "ops/op.h"

namespace pocketuni {

struct Model::Tower {
  const TowerSpec* spec = nullptr;
  std::vector<std::shared_ptr<const Op>> ops;       // one per node
  std::vector<std::vector<InputInfo>> operands;     // [node][operand]; activations have their dtype and no shape yet
  std::vector<std::vector<const void*>> constants;  // [node][operand]: data of plain constants, or null
};

/// Throws Error(kFormat) naming a node that no sizes of the dimensions can make work. What depends on the sizes is not
/// judged here but by infer_types, at each run.
void check_shapes(const Model::Tower& tower);

/// Types of all values for given values of the named dimensions, inputs included. Throws Error(kInvalidArgument) naming
/// the sizes and the node whose inputs do not fit, or the value whose stored type disagrees.
std::vector<TensorType> infer_types(const Model::Tower& tower, const std::vector<int64_t>& named_dims);

/// The operands of a node with the shapes of this run.
std::vector<InputInfo> operand_infos(const Model::Tower& tower, size_t node, const std::vector<TensorType>& types);

}  // namespace pocketuni
