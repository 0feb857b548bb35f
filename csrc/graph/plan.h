// The memory plan of one tower for one set of input shapes: types, offsets in an arena, ready contexts.
#pragma once
#include <vector>

#include "graph/tower.h"

namespace pocketuni {

struct Plan {
  std::vector<int64_t> named_dims;
  std::vector<TensorType> types;     // [value]
  std::vector<size_t> offsets;       // [value]: bytes in the arena; kNoOffset for graph inputs
  std::vector<RunContext> contexts;  // [node]: all but pointers into the arena and to inputs
  std::vector<char> skip;            // [node]: its results have no elements
  std::vector<Tensor> outputs;       // [graph output]
  size_t arena_bytes = 0;            // activations, then scratch
  size_t scratch_offset = 0;
};

constexpr size_t kNoOffset = ~size_t{0};

/// Throws Error(kInvalidArgument) when the shapes do not fit the graph or ask for more than 2^40 bytes.
std::unique_ptr<Plan> make_plan(const Model::Tower& tower, const std::vector<int64_t>& named_dims,
                                const Kernels* kernels, ThreadPool* pool);

}  // namespace pocketuni
