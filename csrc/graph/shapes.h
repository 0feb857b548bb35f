// How the shapes of a tower are spoken of: what checks at open and at each run share.
#pragma once
#include <string>
#include <vector>

#include "graph/tower.h"

namespace pocketuni {

/// "node 'name' (op): ".
std::string node_title(const NodeSpec& node);

/// Says that a result is not what the file says, with both; `named_dims` are the sizes of named dimensions.
std::string contradiction(const ValueSpec& value, const TensorType& result, const std::vector<int64_t>& named_dims);

}  // namespace pocketuni
