#include "graph/plan.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/error.h"

namespace pocketuni {
namespace {

constexpr uint64_t kMaxArena = uint64_t{1} << 40;

size_t type_bytes(const TensorType& type) {
  const uint64_t bytes = static_cast<uint64_t>(element_count(type.shape)) * dtype_size(type.dtype);
  if (bytes > kMaxArena) fail_argument("an activation of " + shape_text(type.shape) + " is too large");
  return round64(static_cast<size_t>(bytes));
}

/// Which value's memory a value lives in: its own, or through reshapes that of another.
std::vector<uint32_t> find_roots(const Model::Tower& tower) {
  const TowerSpec& spec = *tower.spec;
  std::vector<uint32_t> roots(spec.values.size());
  for (uint32_t i = 0; i < roots.size(); ++i) roots[i] = i;
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    const NodeSpec& node = spec.nodes[n];
    if (!tower.ops[n]->aliases_input() || node.inputs[0].kind != Operand::kValue) continue;
    const uint32_t source = node.inputs[0].index;
    const bool is_input = std::find(spec.inputs.begin(), spec.inputs.end(), roots[source]) != spec.inputs.end();
    if (!is_input) roots[node.outputs[0]] = roots[source];
  }
  return roots;
}

struct Block {
  size_t begin, end;
  size_t last_use;  // node after which the memory is free
};

/// First-fit: the lowest gap between the blocks that are alive.
size_t place(std::vector<Block>& alive, size_t bytes, size_t last_use) {
  std::sort(alive.begin(), alive.end(), [](const Block& a, const Block& b) { return a.begin < b.begin; });
  size_t at = 0;
  for (const Block& block : alive) {
    if (block.begin >= at + bytes) break;
    at = std::max(at, block.end);
  }
  alive.push_back({at, at + bytes, last_use});
  return at;
}

std::vector<size_t> last_uses(const TowerSpec& spec, const std::vector<uint32_t>& roots) {
  std::vector<size_t> last(spec.values.size(), 0);
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    for (const Operand& operand : spec.nodes[n].inputs) {
      if (operand.kind == Operand::kValue) last[roots[operand.index]] = n;
    }
    for (uint32_t output : spec.nodes[n].outputs) last[roots[output]] = std::max(last[roots[output]], n);
  }
  for (uint32_t output : spec.outputs) last[roots[output]] = spec.nodes.size();
  return last;
}

void place_values(const Model::Tower& tower, Plan& plan) {
  const TowerSpec& spec = *tower.spec;
  const std::vector<uint32_t> roots = find_roots(tower);
  const std::vector<size_t> last = last_uses(spec, roots);
  std::vector<Block> alive;
  plan.offsets.assign(spec.values.size(), kNoOffset);
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    alive.erase(std::remove_if(alive.begin(), alive.end(), [&](const Block& b) { return b.last_use < n; }),
                alive.end());
    for (uint32_t output : spec.nodes[n].outputs) {
      if (roots[output] != output) {
        plan.offsets[output] = plan.offsets[roots[output]];
        continue;
      }
      const size_t bytes = type_bytes(plan.types[output]);
      plan.offsets[output] = place(alive, bytes, last[output]);
      plan.scratch_offset = std::max(plan.scratch_offset, plan.offsets[output] + bytes);
    }
    if (plan.scratch_offset > kMaxArena) fail_argument("these shapes need more than a terabyte of memory");
  }
}

}  // namespace

std::unique_ptr<Plan> make_plan(const Model::Tower& tower, const std::vector<int64_t>& named_dims,
                                const Kernels* kernels, ThreadPool* pool) {
  const TowerSpec& spec = *tower.spec;
  auto plan = std::make_unique<Plan>();
  plan->named_dims = named_dims;
  plan->types = infer_types(tower, named_dims);
  place_values(tower, *plan);
  size_t scratch = 0;
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    const NodeSpec& node = spec.nodes[n];
    const std::vector<InputInfo> infos = operand_infos(tower, n, plan->types);
    RunContext context{};
    context.kernels = kernels;
    context.pool = pool;
    for (size_t i = 0; i < infos.size(); ++i) {
      context.inputs.push_back({infos[i].type, const_cast<void*>(tower.constants[n][i])});
    }
    bool empty = true;
    for (uint32_t output : node.outputs) {
      context.outputs.push_back({plan->types[output], nullptr});
      empty = empty && element_count(plan->types[output].shape) == 0;
    }
    if (!empty) scratch = std::max(scratch, tower.ops[n]->scratch_bytes(infos, pool->size()));
    plan->skip.push_back(empty);
    plan->contexts.push_back(std::move(context));
  }
  if (scratch > kMaxArena) fail_argument("these shapes need more than a terabyte of memory");
  for (uint32_t output : spec.outputs) plan->outputs.push_back({plan->types[output], nullptr});
  plan->arena_bytes = plan->scratch_offset + scratch;
  return plan;
}

}  // namespace pocketuni
