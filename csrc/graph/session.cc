#include "graph/session.h"

#include <new>

#include "base/error.h"
#include "graph/lane.h"
#include "graph/parts.h"
#include "graph/tower.h"

namespace pocketuni {

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
  std::unique_ptr<ThreadPool> own_pool;  // or null
  ThreadPool* pool;
  Lane whole;
  Parts parts;
  std::vector<int64_t> bound;  // named dimensions of this run
  bool profiling = false;
  std::vector<OpProfile> profile;

  State(std::shared_ptr<const Model> m, const std::string& name, const SessionOptions& options)
      : model(std::move(m)),
        tower(&model->tower(model->tower_index(name))),
        kernels(choose_kernels(options.isa)),
        own_pool(std::make_unique<ThreadPool>(options.threads)),
        pool(own_pool.get()),
        whole(*tower, kernels, pool),
        parts(*tower, kernels, pool) {}

  State(std::shared_ptr<const Model> m, const Model::Tower& t, const Kernels* k, ThreadPool& p)
      : model(std::move(m)), tower(&t), kernels(k), pool(&p), whole(t, k, &p), parts(t, k, &p) {}

  void bind(const std::vector<Tensor>& inputs);
  const std::vector<Tensor>& run(const std::vector<Tensor>& inputs);
};

Session::Session(std::shared_ptr<const Model> model, const std::string& tower, const SessionOptions& options)
    : state_(std::make_unique<State>(std::move(model), tower, options)) {
  for (const NodeSpec& node : spec().nodes) state_->profile.push_back({node.name, node.op, 0, 0});
}

Session::Session(std::shared_ptr<const Model> model, const Model::Tower& tower, const Kernels* kernels,
                 ThreadPool& pool)
    : state_(std::make_unique<State>(std::move(model), tower, kernels, pool)) {
  for (const NodeSpec& node : spec().nodes) state_->profile.push_back({node.name, node.op, 0, 0});
}

Session::~Session() = default;
const TowerSpec& Session::spec() const { return *state_->tower->spec; }
const char* Session::isa() const { return state_->kernels->isa; }
int Session::threads() const { return state_->pool->size(); }
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

const std::vector<Tensor>& Session::State::run(const std::vector<Tensor>& inputs) {
  std::vector<OpProfile>* timed = profiling ? &profile : nullptr;
  if (profiling) {
    for (OpProfile& entry : profile) ++entry.runs;
  }
  if (const std::vector<Tensor>* outputs = parts.run(bound, inputs, whole, timed)) return *outputs;
  Plan& plan = whole.plan(bound);
  std::vector<const void*> data;
  for (const Tensor& input : inputs) data.push_back(input.data);
  whole.run(plan, data, timed);
  return plan.outputs;
}

const std::vector<Tensor>& Session::run(const std::vector<Tensor>& inputs) {
  state_->model->file().require_whole();
  try {
    state_->bind(inputs);
    return state_->run(inputs);
  } catch (const std::bad_alloc&) {
    throw Error(Status::kOutOfMemory, "tower '" + spec().name + "': not enough memory for these shapes");
  }
}

}  // namespace pocketuni
