// What towers share: the nodes that compute the same from the same, found once, so that one tower computes them and the
// others take them as they take inputs.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "graph/tower.h"

namespace pocketuni {

/// A tower without what towers before it compute. Inputs are those of the whole tower, then the values that it takes;
/// outputs those of the whole tower, then the values that towers behind it take.
struct PartTower {
  /// Where a taken value comes from: a tower before this one, and the place in that tower's list of outputs.
  struct Source {
    size_t tower, output;
  };

  TowerSpec spec;
  Model::Tower tower;  // `tower.spec` is `spec`
  size_t own_inputs = 0, own_outputs = 0;
  std::vector<Source> taken;
};

/// Cuts towers into parts that share. `same[tower][input]` is the number of what is given: inputs with one number are
/// equal. Nodes count as the same where operator, attributes and operands are, tensors by their place in the file.
/// Towers that share no weights share nothing: what else they have in common is not worth a copy.
std::vector<std::unique_ptr<PartTower>> share_nodes(const std::vector<const Model::Tower*>& towers,
                                                    const std::vector<std::vector<uint32_t>>& same);

}  // namespace pocketuni
