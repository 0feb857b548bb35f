// The part of a stream that happens once for each sequence of shapes: sizes bound, shapes computed, contexts made.
#include <algorithm>

#include "base/error.h"
#include "graph/stream_state.h"

namespace pocketuni {
namespace {

constexpr int64_t kStepRows = 48;    // of input, computed at once: what keeps a step in the cache
constexpr int64_t kSampleSize = 61;  // of time, where shapes are computed for their other dimensions

}  // namespace

StreamSession::State::State(std::shared_ptr<const Model> m, const std::string& name, const SessionOptions& options)
    : model(std::move(m)),
      tower(&model->tower(model->tower_index(name))),
      spec(tower->spec),
      kernels(choose_kernels(options.isa)),
      threads(options.threads),
      plan(make_time_plan(*tower)),
      readers(spec->values.size()),
      live(spec->nodes.size(), 0),
      fixed(spec->values.size()),
      is_set(spec->values.size(), 0),
      rows(spec->values.size()),
      ready(spec->values.size(), 0),
      need(spec->values.size(), 0) {
  types.resize(spec->values.size());
  find_readers();
}

void StreamSession::State::find_readers() {
  std::vector<char> wanted(spec->values.size(), 0);
  for (uint32_t output : spec->outputs) wanted[output] = 1;
  for (size_t n = spec->nodes.size(); n-- > 0;) {
    const NodeSpec& node = spec->nodes[n];
    live[n] = wanted[node.outputs[0]];
    for (size_t i = 0; live[n] && i < node.inputs.size(); ++i) {
      if (node.inputs[i].kind != Operand::kValue) continue;
      wanted[node.inputs[i].index] = 1;
      readers[node.inputs[i].index].push_back({n, windowed(n, i)});
    }
  }
}

/// Takes the sizes of named dimensions, but for time, from the shape of an input; throws where it does not fit.
void StreamSession::State::bind(uint32_t value, const Shape& shape, std::vector<int64_t>& dims) const {
  const ValueSpec& v = spec->values[value];
  const std::string input = where() + "input '" + v.name + "': ";
  if (shape.size() != v.dims.size()) {
    fail_argument(input + "expected " + std::to_string(v.dims.size()) + " dimensions, got shape " + shape_text(shape));
  }
  for (size_t d = 0; d < shape.size(); ++d) {
    if (plan.axes[value] == static_cast<int>(d)) continue;
    const size_t name = static_cast<size_t>(-2 - v.dims[d]);
    int64_t expected = v.dims[d];
    if (v.dims[d] <= -2) {
      if (dims[name] == kComputed) dims[name] = shape[d];
      expected = dims[name];
    }
    if (shape[d] != expected) {
      fail_argument(input + "dimension " + std::to_string(d) + " is " + std::to_string(shape[d]) + ", expected " +
                    std::to_string(expected));
    }
  }
}

void StreamSession::State::prepare(const std::vector<Tensor>& pushed) {
  std::vector<int64_t> dims(spec->named_dims.size(), kComputed);
  size_t next = 0;
  for (uint32_t input : spec->inputs) {
    if (timed(input)) {
      if (!pushed.empty()) bind(input, pushed[next++].type.shape, dims);
      continue;
    }
    if (!is_set[input]) {
      fail_argument(where() + "input '" + spec->values[input].name + "' has no time and must be set first");
    }
    bind(input, types[input].shape, dims);
  }
  for (int64_t& dim : dims) dim = dim == kComputed ? 1 : dim;
  dims[plan.dim] = kSampleSize;
  std::vector<TensorType> all = infer_types(*tower, dims);
  for (uint32_t value = 0; value < all.size(); ++value) {
    if (!timed(value)) continue;
    int64_t before = 1;
    for (size_t d = 0; d < axis(value); ++d) before *= all[value].shape[d];
    if (before != 1) {
      fail_argument(where() + "'" + spec->values[value].name + "' is " + shape_text(all[value].shape) +
                    ", but a stream runs one sequence at a time");
    }
    Shape row = all[value].shape;
    row[axis(value)] = 1;
    rows[value].set_row_bytes(stream_bytes({all[value].dtype, row}));
  }
  const uint32_t first = spec->outputs[0];
  step = std::max<int64_t>(16, kStepRows * all[first].shape[axis(first)] / kSampleSize);
  named_dims = std::move(dims);
  types = std::move(all);
  make_contexts();
  for (size_t n = 0; n < spec->nodes.size(); ++n) {
    if (live[n] && !timed(spec->nodes[n].outputs[0])) run_fixed(n);
  }
  prepared = true;
}

void StreamSession::State::make_contexts() {
  contexts.clear();
  infos.clear();
  for (size_t n = 0; n < spec->nodes.size(); ++n) {
    const NodeSpec& node = spec->nodes[n];
    infos.push_back(operand_infos(*tower, n, types));
    RunContext context{};
    context.kernels = kernels;
    context.pool = &threads;
    context.named_dims = &named_dims;
    for (size_t i = 0; i < infos[n].size(); ++i) {
      void* data = const_cast<void*>(tower->constants[n][i]);
      context.inputs.push_back({infos[n][i].type, data});
    }
    const uint32_t result = node.outputs[0];
    context.outputs.push_back({types[result], nullptr});
    if (!timed(result)) fixed[result].reserve(std::max<size_t>(64, stream_bytes(types[result])));
    contexts.push_back(std::move(context));
  }
  for (size_t n = 0; n < spec->nodes.size(); ++n) {
    const NodeSpec& node = spec->nodes[n];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i].kind == Operand::kValue && !timed(node.inputs[i].index)) {
        contexts[n].inputs[i].data = fixed[node.inputs[i].index].data();
      }
    }
    if (!timed(node.outputs[0])) contexts[n].outputs[0].data = fixed[node.outputs[0]].data();
  }
  outputs.clear();
  for (uint32_t output : spec->outputs) outputs.push_back({types[output], nullptr});
}

void StreamSession::State::run_fixed(size_t node) {
  RunContext& context = contexts[node];
  if (element_count(context.outputs[0].type.shape) == 0) return;
  scratch.reserve(std::max<size_t>(64, tower->ops[node]->scratch_bytes(infos[node], threads.size())));
  context.scratch = scratch.data();
  tower->ops[node]->run(context);
}

}  // namespace pocketuni
