#include "graph/state.h"

#include <cstring>

#include "base/buffer.h"
#include "base/error.h"

namespace pocketuni {

struct StateSession::State {
  Session session;
  std::vector<uint32_t> inputs, outputs;  // values
  std::vector<size_t> input_places;       // of `inputs` in the tower's list
  std::vector<size_t> output_places;
  std::vector<Tensor> held;  // [pair]: the state; no data before the first step
  std::vector<AlignedBuffer> buffers;
  std::vector<Tensor> given, results;

  State(std::shared_ptr<const Model> model, const std::string& tower, const SessionOptions& options)
      : session(std::move(model), tower, options) {}

  const TowerSpec& spec() const { return session.spec(); }
  void split();
  void start(const std::vector<Tensor>& from);
  void keep(const std::vector<Tensor>& from);
};

StateSession::StateSession(std::shared_ptr<const Model> model, const std::string& tower, const SessionOptions& options)
    : state_(std::make_unique<State>(std::move(model), tower, options)) {
  if (spec().states.empty()) fail_argument("tower '" + tower + "' has no state: run it as a whole");
  state_->split();
}

StateSession::~StateSession() = default;
const TowerSpec& StateSession::spec() const { return state_->spec(); }
const char* StateSession::isa() const { return state_->session.isa(); }
int StateSession::threads() const { return state_->session.threads(); }
const std::vector<uint32_t>& StateSession::inputs() const { return state_->inputs; }
const std::vector<uint32_t>& StateSession::outputs() const { return state_->outputs; }

void StateSession::State::split() {
  std::vector<bool> takes(spec().inputs.size(), false), gives(spec().outputs.size(), false);
  for (const StatePair& pair : spec().states) takes[pair.input] = gives[pair.output] = true;
  for (size_t i = 0; i < takes.size(); ++i) {
    if (takes[i]) continue;
    inputs.push_back(spec().inputs[i]);
    input_places.push_back(i);
  }
  for (size_t i = 0; i < gives.size(); ++i) {
    if (gives[i]) continue;
    outputs.push_back(spec().outputs[i]);
    output_places.push_back(i);
  }
  held.resize(spec().states.size());
  buffers.resize(held.size());
}

/// Zeros, of the sizes that the named dimensions have in the inputs; a name that no input carries counts as 1.
void StateSession::State::start(const std::vector<Tensor>& from) {
  std::vector<int64_t> named(spec().named_dims.size(), 1);
  for (size_t i = 0; i < from.size(); ++i) {
    const std::vector<Dim>& dims = spec().values[inputs[i]].dims;
    for (size_t d = 0; d < std::min(dims.size(), from[i].type.shape.size()); ++d) {
      if (dims[d] < kComputed) named[static_cast<size_t>(-2 - dims[d])] = from[i].type.shape[d];
    }
  }
  for (size_t i = 0; i < held.size(); ++i) {
    const ValueSpec& value = spec().values[spec().inputs[spec().states[i].input]];
    Tensor tensor{{value.dtype, {}}, nullptr};
    for (Dim dim : value.dims) {
      tensor.type.shape.push_back(dim < kComputed ? named[static_cast<size_t>(-2 - dim)] : dim);
    }
    const size_t bytes = static_cast<size_t>(element_count(tensor.type.shape)) * dtype_size(value.dtype);
    buffers[i].reserve(std::max<size_t>(bytes, 64));
    std::memset(buffers[i].data(), 0, bytes);
    tensor.data = buffers[i].data();
    held[i] = std::move(tensor);
  }
}

void StateSession::State::keep(const std::vector<Tensor>& from) {
  for (size_t i = 0; i < held.size(); ++i) {
    const Tensor& next = from[spec().states[i].output];
    if (next.type.shape == held[i].type.shape) continue;
    fail_argument("tower '" + spec().name + "': the state '" +
                  spec().values[spec().inputs[spec().states[i].input]].name + "' is " + shape_text(held[i].type.shape) +
                  " and would become " + shape_text(next.type.shape));
  }
  for (size_t i = 0; i < held.size(); ++i) {
    const Tensor& next = from[spec().states[i].output];
    const size_t bytes = static_cast<size_t>(element_count(next.type.shape)) * dtype_size(next.type.dtype);
    if (bytes != 0) std::memcpy(held[i].data, next.data, bytes);
  }
}

const std::vector<Tensor>& StateSession::run(const std::vector<Tensor>& inputs) {
  State& state = *state_;
  if (inputs.size() != state.inputs.size()) {
    fail_argument("tower '" + spec().name + "' takes " + std::to_string(state.inputs.size()) +
                  " inputs besides its state, got " + std::to_string(inputs.size()));
  }
  const bool first = state.held[0].data == nullptr;
  if (first) state.start(inputs);
  state.given.assign(spec().inputs.size(), Tensor{});
  for (size_t i = 0; i < inputs.size(); ++i) state.given[state.input_places[i]] = inputs[i];
  for (size_t i = 0; i < state.held.size(); ++i) state.given[spec().states[i].input] = state.held[i];
  try {
    const std::vector<Tensor>& all = state.session.run(state.given);
    state.keep(all);
    state.results.clear();
    for (size_t place : state.output_places) state.results.push_back(all[place]);
  } catch (const Error&) {
    if (first) reset();  // its sizes need not be those of the next step
    throw;
  }
  return state.results;
}

void StateSession::reset() {
  for (Tensor& tensor : state_->held) tensor.data = nullptr;
}

}  // namespace pocketuni
