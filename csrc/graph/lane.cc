#include "graph/lane.h"

#include <algorithm>
#include <chrono>

#include "base/denormals.h"

namespace pocketuni {
namespace {

constexpr size_t kPlans = 8;

}  // namespace

Plan& Lane::plan(const std::vector<int64_t>& named_dims) {
  for (size_t i = 0; i < plans_.size(); ++i) {
    if (plans_[i]->named_dims != named_dims) continue;
    std::rotate(plans_.begin(), plans_.begin() + static_cast<ptrdiff_t>(i),
                plans_.begin() + static_cast<ptrdiff_t>(i) + 1);
    return *plans_[0];
  }
  std::unique_ptr<Plan> plan = make_plan(tower_, named_dims, kernels_, pool_);
  if (plans_.size() == kPlans) plans_.pop_back();
  plans_.insert(plans_.begin(), std::move(plan));
  return *plans_[0];
}

void Lane::reserve(const Plan& plan) { arena_.reserve(std::max<size_t>(plan.arena_bytes, 64)); }

void Lane::run(Plan& plan, const std::vector<const void*>& inputs, std::vector<OpProfile>* profile) {
  using Clock = std::chrono::steady_clock;
  const TowerSpec& spec = *tower_.spec;
  reserve(plan);
  const auto address = [&](uint32_t value) -> void* {
    if (plan.offsets[value] != kNoOffset) return arena_.data() + plan.offsets[value];
    for (size_t i = 0; i < spec.inputs.size(); ++i) {
      if (spec.inputs[i] == value) return const_cast<void*>(inputs[i]);
    }
    return nullptr;
  };
  const FlushDenormals flush;
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    if (plan.skip[n]) continue;
    RunContext& context = plan.contexts[n];
    const NodeSpec& node = spec.nodes[n];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i].kind == Operand::kValue) context.inputs[i].data = address(node.inputs[i].index);
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) context.outputs[i].data = address(node.outputs[i]);
    context.scratch = arena_.data() + plan.scratch_offset;
    context.named_dims = &plan.named_dims;
    if (profile == nullptr) {
      tower_.ops[n]->run(context);
      continue;
    }
    const Clock::time_point start = Clock::now();
    tower_.ops[n]->run(context);
    (*profile)[n].seconds += std::chrono::duration<double>(Clock::now() - start).count();
  }
  for (size_t i = 0; i < spec.outputs.size(); ++i) plan.outputs[i].data = address(spec.outputs[i]);
}

}  // namespace pocketuni
