#include "graph/session.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "base/buffer.h"
#include "base/denormals.h"
#include "base/error.h"
#include "graph/plan.h"
#include "graph/tower.h"

namespace pocketuni {
namespace {

constexpr size_t kPlans = 8;

}  // namespace

const Kernels* choose_kernels(const char* isa) {
  const char* wanted = isa;
  const Kernels* kernels = isa ? find_kernels(isa) : default_kernels(&wanted);
  if (kernels != nullptr) return kernels;
  std::string usable;
  for (const Kernels* const* k = usable_kernels(); *k; ++k)
    usable += (usable.empty() ? "" : ", ") + std::string((*k)->isa);
  fail_argument("the instruction set '" + std::string(wanted ? wanted : "") +
                "' cannot be used here; usable: " + usable);
}

struct Session::State {
  std::shared_ptr<const Model> model;
  const Model::Tower* tower;
  const Kernels* kernels;
  ThreadPool pool;
  AlignedBuffer arena;
  std::vector<std::unique_ptr<Plan>> plans;  // most recently used first
  std::vector<int64_t> bound;                // named dimensions of this run
  bool profiling = false;
  std::vector<OpProfile> profile;

  State(std::shared_ptr<const Model> m, const std::string& name, const SessionOptions& options)
      : model(std::move(m)),
        tower(&model->tower(model->tower_index(name))),
        kernels(choose_kernels(options.isa)),
        pool(options.threads) {}

  void bind(const std::vector<Tensor>& inputs);
  Plan& find_plan();
  void execute(Plan& plan, const std::vector<Tensor>& inputs);
};

Session::Session(std::shared_ptr<const Model> model, const std::string& tower, const SessionOptions& options)
    : state_(std::make_unique<State>(std::move(model), tower, options)) {
  for (const NodeSpec& node : spec().nodes) state_->profile.push_back({node.name, node.op, 0, 0});
}

Session::~Session() = default;
const TowerSpec& Session::spec() const { return *state_->tower->spec; }
const char* Session::isa() const { return state_->kernels->isa; }
int Session::threads() const { return state_->pool.size(); }
std::vector<OpProfile> Session::profile() const { return state_->profile; }

void Session::set_profiling(bool on) {
  state_->profiling = on;
  for (OpProfile& entry : state_->profile) entry.seconds = 0, entry.runs = 0;
}

void Session::State::bind(const std::vector<Tensor>& inputs) {
  const TowerSpec& spec = *tower->spec;
  if (inputs.size() != spec.inputs.size()) {
    fail_argument("tower '" + spec.name + "' takes " + std::to_string(spec.inputs.size()) + " inputs, got " +
                  std::to_string(inputs.size()));
  }
  bound.assign(spec.named_dims.size(), kComputed);
  std::vector<const char*> giver(spec.named_dims.size(), nullptr);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueSpec& value = spec.values[spec.inputs[i]];
    const TensorType& type = inputs[i].type;
    const std::string where = "tower '" + spec.name + "', input '" + value.name + "': ";
    if (type.dtype != value.dtype) {
      fail_argument(where + "expected " + dtype_name(value.dtype) + ", got " + dtype_name(type.dtype));
    }
    if (type.shape.size() != value.dims.size()) {
      fail_argument(where + "expected " + std::to_string(value.dims.size()) + " dimensions, got shape " +
                    shape_text(type.shape));
    }
    for (size_t d = 0; d < value.dims.size(); ++d) {
      const int64_t size = type.shape[d];
      if (value.dims[d] >= 0 && value.dims[d] != size) {
        fail_argument(where + "dimension " + std::to_string(d) + " is " + std::to_string(size) + ", expected " +
                      std::to_string(value.dims[d]));
      }
      if (value.dims[d] > -2) continue;
      const size_t name = static_cast<size_t>(-2 - value.dims[d]);
      if (giver[name] != nullptr && bound[name] != size) {
        fail_argument(where + "dimension '" + spec.named_dims[name] + "' is " + std::to_string(size) + ", but '" +
                      giver[name] + "' gave " + std::to_string(bound[name]));
      }
      if (size < 0) fail_argument(where + "a dimension is negative");
      bound[name] = size;
      giver[name] = value.name.c_str();
    }
    if (inputs[i].data == nullptr && element_count(type.shape) != 0) fail_argument(where + "there is no data");
  }
  // A named dimension that no input carries (the verifier allows it) counts as 1.
  for (int64_t& dim : bound) dim = dim == kComputed ? 1 : dim;
}

Plan& Session::State::find_plan() {
  for (size_t i = 0; i < plans.size(); ++i) {
    if (plans[i]->named_dims != bound) continue;
    std::rotate(plans.begin(), plans.begin() + static_cast<ptrdiff_t>(i),
                plans.begin() + static_cast<ptrdiff_t>(i) + 1);
    return *plans[0];
  }
  std::unique_ptr<Plan> plan = make_plan(*tower, bound, kernels, &pool);
  if (plans.size() == kPlans) plans.pop_back();
  plans.insert(plans.begin(), std::move(plan));
  return *plans[0];
}

void Session::State::execute(Plan& plan, const std::vector<Tensor>& inputs) {
  using Clock = std::chrono::steady_clock;
  const TowerSpec& spec = *tower->spec;
  arena.reserve(std::max<size_t>(plan.arena_bytes, 64));
  const auto address = [&](uint32_t value) -> void* {
    if (plan.offsets[value] != kNoOffset) return arena.data() + plan.offsets[value];
    for (size_t i = 0; i < spec.inputs.size(); ++i) {
      if (spec.inputs[i] == value) return inputs[i].data;
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
    context.scratch = arena.data() + plan.scratch_offset;
    context.named_dims = &plan.named_dims;
    if (!profiling) {
      tower->ops[n]->run(context);
      continue;
    }
    const Clock::time_point start = Clock::now();
    tower->ops[n]->run(context);
    profile[n].seconds += std::chrono::duration<double>(Clock::now() - start).count();
    profile[n].runs += 1;
  }
  for (size_t i = 0; i < spec.outputs.size(); ++i) plan.outputs[i].data = address(spec.outputs[i]);
}

const std::vector<Tensor>& Session::run(const std::vector<Tensor>& inputs) {
  try {
    state_->bind(inputs);
    Plan& plan = state_->find_plan();
    state_->execute(plan, inputs);
    return plan.outputs;
  } catch (const std::bad_alloc&) {
    throw Error(Status::kOutOfMemory, "tower '" + spec().name + "': not enough memory for these shapes");
  }
}

}  // namespace pocketuni
