#include "graph/stream.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include "base/denormals.h"
#include "base/error.h"
#include "graph/row_buffer.h"
#include "graph/time_plan.h"

namespace pocketuni {
namespace {

constexpr int64_t kEndless = int64_t{1} << 40;  // rows of a value that no input limits
constexpr int64_t kStepRows = 48;               // of input, computed at once: what keeps a step in the cache
constexpr int64_t kSampleSize = 61;             // of time, where shapes are computed for their other dimensions

size_t type_bytes(const TensorType& type) {
  return static_cast<size_t>(element_count(type.shape)) * dtype_size(type.dtype);
}

}  // namespace

struct StreamSession::State {
  /// A node that reads a value, and whether through a window.
  struct Reader {
    size_t node;
    bool windowed;
  };

  std::shared_ptr<const Model> model;
  const Model::Tower* tower;
  const TowerSpec* spec;
  const Kernels* kernels;
  ThreadPool threads;
  TimePlan plan;
  std::vector<std::vector<Reader>> readers;  // [value]: of nodes that the outputs need
  std::vector<char> live;                    // [node]: the outputs need it

  bool prepared = false, finished = false;
  int64_t delivered = 0;  // rows pulled
  int64_t step = 1;       // rows of the results that are computed at once
  std::vector<int64_t> named_dims;
  std::vector<TensorType> types;              // [value], with the sample size for time
  std::vector<AlignedBuffer> fixed;           // [value]: inputs and results without time
  std::vector<char> is_set;                   // [value]: a fixed input that was given
  std::vector<RowBuffer> rows;                // [value]
  std::vector<int64_t> ready, need;           // [value]: rows that can be, and that must be computed
  std::vector<RunContext> contexts;           // [node]
  std::vector<std::vector<InputInfo>> infos;  // [node]
  BufferPool blocks;
  AlignedBuffer scratch;
  std::vector<Tensor> outputs;

  State(std::shared_ptr<const Model> m, const std::string& name, const SessionOptions& options)
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

  bool timed(uint32_t value) const { return plan.axes[value] >= 0; }
  size_t axis(uint32_t value) const { return static_cast<size_t>(plan.axes[value]); }
  bool timed(const Operand& operand) const { return operand.kind == Operand::kValue && timed(operand.index); }
  bool windowed(size_t node, size_t operand) const { return operand == 0 && plan.maps[node].kind == TimeMap::kWindow; }
  std::string where() const { return "tower '" + spec->name + "': "; }

  void find_readers();
  void prepare(const std::vector<Tensor>& pushed);
  void bind(uint32_t value, const Shape& shape, std::vector<int64_t>& dims) const;
  void make_contexts();
  void run_fixed(size_t node);
  void check_rows(const std::vector<Tensor>& pushed) const;
  void find_ready();
  int64_t results_ready() const;
  void compute_to(int64_t row);
  void run_node(size_t node);
  void drop_unread(uint32_t value);
  void clear();
};

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

// --- what happens once for each sequence of shapes -------------------------------------------------------------------

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
    rows[value].set_row_bytes(type_bytes({all[value].dtype, row}));
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
    if (!timed(result)) fixed[result].reserve(std::max<size_t>(64, type_bytes(types[result])));
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

// --- rows ------------------------------------------------------------------------------------------------------------

void StreamSession::State::check_rows(const std::vector<Tensor>& pushed) const {
  size_t next = 0;
  int64_t count = -1;
  for (uint32_t input : spec->inputs) {
    if (!timed(input)) continue;
    if (next == pushed.size()) break;
    const ValueSpec& value = spec->values[input];
    const Tensor& tensor = pushed[next++];
    const std::string name = where() + "input '" + value.name + "': ";
    if (tensor.type.dtype != value.dtype) {
      fail_argument(name + "expected " + dtype_name(value.dtype) + ", got " + dtype_name(tensor.type.dtype));
    }
    std::vector<int64_t> dims = named_dims;
    if (prepared) bind(input, tensor.type.shape, dims);
    if (tensor.type.shape.size() != value.dims.size()) continue;  // prepare says it
    const int64_t here = tensor.type.shape[axis(input)];
    if (here < 0 || (count >= 0 && here != count)) {
      fail_argument(name + "got " + std::to_string(here) + " rows, the first input has " + std::to_string(count));
    }
    count = here;
    if (tensor.data == nullptr && element_count(tensor.type.shape) != 0) fail_argument(name + "there is no data");
  }
  const auto wanted = std::count_if(spec->inputs.begin(), spec->inputs.end(), [&](uint32_t v) { return timed(v); });
  if (pushed.size() != static_cast<size_t>(wanted)) {
    fail_argument(where() + "takes rows of " + std::to_string(wanted) + " inputs, got " +
                  std::to_string(pushed.size()));
  }
}

/// Rows of every value that the rows pushed so far determine; when finished, all there are.
void StreamSession::State::find_ready() {
  if (finished) return;
  for (uint32_t input : spec->inputs) ready[input] = rows[input].end();
  for (size_t n = 0; n < spec->nodes.size(); ++n) {
    const NodeSpec& node = spec->nodes[n];
    if (!timed(node.outputs[0])) continue;
    int64_t possible = kEndless;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!timed(node.inputs[i])) continue;
      const int64_t there = ready[node.inputs[i].index];
      possible = std::min(possible, windowed(n, i) ? rows_possible(plan.maps[n], there) : there);
    }
    ready[node.outputs[0]] = possible;
  }
}

int64_t StreamSession::State::results_ready() const {
  int64_t least = kEndless;
  for (uint32_t output : spec->outputs) least = std::min(least, ready[output]);
  return least;
}

/// Computes the results up to `row`, and of everything else only what they need.
void StreamSession::State::compute_to(int64_t row) {
  for (uint32_t value = 0; value < need.size(); ++value) need[value] = rows[value].end();
  for (uint32_t output : spec->outputs) need[output] = std::max(need[output], row);
  for (size_t n = spec->nodes.size(); n-- > 0;) {
    const NodeSpec& node = spec->nodes[n];
    const uint32_t result = node.outputs[0];
    if (!timed(result) || need[result] <= rows[result].end()) continue;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!timed(node.inputs[i])) continue;
      const uint32_t input = node.inputs[i].index;
      const RowRange wanted{rows[result].end(), need[result]};
      const int64_t last = windowed(n, i) ? rows_read(plan.maps[n], wanted).end : wanted.end;
      need[input] = std::max(need[input], std::min(last, ready[input]));
    }
  }
  for (size_t n = 0; n < spec->nodes.size(); ++n) {
    const NodeSpec& node = spec->nodes[n];
    const uint32_t result = node.outputs[0];
    if (!timed(result)) continue;
    if (need[result] > rows[result].end()) run_node(n);
    for (const Operand& operand : node.inputs) {
      if (timed(operand) && plan.last_reader[operand.index] == n) drop_unread(operand.index);
    }
  }
}

void StreamSession::State::run_node(size_t n) {
  const NodeSpec& node = spec->nodes[n];
  const uint32_t result = node.outputs[0];
  const RowRange range{rows[result].end(), need[result]};
  RunContext& context = contexts[n];
  context.outputs[0].data = rows[result].append(range.end - range.begin, blocks);
  context.outputs[0].type.shape[axis(result)] = range.end - range.begin;
  TimeChunk chunk{range.begin, range.begin, std::numeric_limits<int64_t>::max()};
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!timed(node.inputs[i])) continue;
    const uint32_t input = node.inputs[i].index;
    RowRange read = range;
    if (windowed(n, i)) {
      read = rows_read(plan.maps[n], range);
      read.begin = std::clamp<int64_t>(read.begin, 0, rows[input].end());
      read.end = std::clamp(read.end, read.begin, rows[input].end());
      chunk.input_first = read.begin;
      if (finished) chunk.input_total = ready[input];
    }
    context.inputs[i].data = rows[input].at(read.begin);
    context.inputs[i].type.shape[axis(input)] = read.end - read.begin;
    infos[n][i].type.shape[axis(input)] = read.end - read.begin;
  }
  if (rows[result].row_bytes() == 0) return;
  scratch.reserve(std::max<size_t>(64, tower->ops[n]->scratch_bytes(infos[n], threads.size())));
  context.scratch = scratch.data();
  context.chunk = &chunk;
  tower->ops[n]->run(context);
  context.chunk = nullptr;
}

/// Drops the rows that no later row of a reader needs, and of a result those that were pulled.
void StreamSession::State::drop_unread(uint32_t value) {
  const bool is_output = plan.last_reader[value] == spec->nodes.size();
  int64_t keep = is_output ? delivered : rows[value].end();
  for (const Reader& reader : readers[value]) {
    const int64_t next = rows[spec->nodes[reader.node].outputs[0]].end();
    keep = std::min(keep, reader.windowed ? rows_read(plan.maps[reader.node], {next, next + 1}).begin : next);
  }
  rows[value].drop_before(keep, blocks);
}

void StreamSession::State::clear() {
  for (RowBuffer& buffer : rows) buffer.clear(blocks);
  delivered = 0;
  finished = prepared = false;
}

// --- the interface ---------------------------------------------------------------------------------------------------

StreamSession::StreamSession(std::shared_ptr<const Model> model, const std::string& tower,
                             const SessionOptions& options)
    : state_(std::make_unique<State>(std::move(model), tower, options)) {}

StreamSession::~StreamSession() = default;
const TowerSpec& StreamSession::spec() const { return *state_->spec; }
const char* StreamSession::isa() const { return state_->kernels->isa; }
int StreamSession::threads() const { return state_->threads.size(); }
const std::string& StreamSession::time_dim() const { return state_->spec->named_dims[state_->plan.dim]; }
bool StreamSession::is_pushed(uint32_t value) const { return state_->timed(value); }
int64_t StreamSession::lookahead() const {
  return std::max<int64_t>(0, input_rows(state_->plan, *state_->spec, 0).end - 1);
}
int64_t StreamSession::receptive_field() const {
  const RowRange far = input_rows(state_->plan, *state_->spec, int64_t{1} << 24);
  return far.end - far.begin;
}

void StreamSession::set_fixed(const std::string& name, const Tensor& value) {
  State& s = *state_;
  for (uint32_t input : s.spec->inputs) {
    const ValueSpec& v = s.spec->values[input];
    if (v.name != name) continue;
    if (s.timed(input)) fail_argument(s.where() + "input '" + name + "' has time: push its rows");
    if (s.prepared) fail_argument(s.where() + "input '" + name + "' cannot change within a sequence; call reset()");
    if (value.type.dtype != v.dtype) {
      fail_argument(s.where() + "input '" + name + "': expected " + dtype_name(v.dtype) + ", got " +
                    dtype_name(value.type.dtype));
    }
    const size_t bytes = type_bytes(value.type);
    s.fixed[input].reserve(std::max<size_t>(64, bytes));
    if (bytes > 0) std::memcpy(s.fixed[input].data(), value.data, bytes);
    s.types[input] = value.type;
    s.is_set[input] = 1;
    return;
  }
  fail_argument(s.where() + "there is no input '" + name + "'");
}

void StreamSession::push(const std::vector<Tensor>& pushed) {
  State& s = *state_;
  if (s.finished) fail_argument(s.where() + "the sequence is finished; call reset() to start another");
  s.check_rows(pushed);
  const FlushDenormals flush;
  if (!s.prepared) s.prepare(pushed);
  size_t next = 0;
  for (uint32_t input : s.spec->inputs) {
    if (!s.timed(input)) continue;
    const Tensor& tensor = pushed[next++];
    const size_t bytes = type_bytes(tensor.type);
    unsigned char* to = s.rows[input].append(tensor.type.shape[s.axis(input)], s.blocks);
    if (bytes > 0) std::memcpy(to, tensor.data, bytes);
    if (s.readers[input].empty()) s.drop_unread(input);
  }
  s.find_ready();
}

void StreamSession::finish() {
  State& s = *state_;
  if (s.finished) return;
  const FlushDenormals flush;
  if (!s.prepared) s.prepare({});
  std::vector<int64_t> dims = s.named_dims;
  for (uint32_t input : s.spec->inputs) {
    if (s.timed(input)) dims[s.plan.dim] = s.rows[input].end();
  }
  const std::vector<TensorType> all = infer_types(*s.tower, dims);
  for (uint32_t value = 0; value < all.size(); ++value) {
    if (s.timed(value)) s.ready[value] = all[value].shape[s.axis(value)];
  }
  s.finished = true;
}

int64_t StreamSession::rows_ready() const {
  return state_->prepared ? std::max<int64_t>(0, state_->results_ready() - state_->delivered) : 0;
}
bool StreamSession::done() const { return state_->finished && rows_ready() == 0; }

const std::vector<Tensor>& StreamSession::pull(int64_t most) {
  State& s = *state_;
  if (most < 0) fail_argument(s.where() + "cannot pull " + std::to_string(most) + " rows");
  const FlushDenormals flush;
  if (!s.prepared) s.prepare({});
  const int64_t count = std::clamp<int64_t>(s.results_ready() - s.delivered, 0, most), end = s.delivered + count;
  try {
    for (uint32_t output : s.spec->outputs) s.drop_unread(output);
    for (int64_t row = s.delivered; row < end;) {
      row = std::min(end, row + s.step);
      s.compute_to(row);
    }
  } catch (const std::bad_alloc&) {
    throw Error(Status::kOutOfMemory, s.where() + "not enough memory for these rows");
  }
  for (size_t i = 0; i < s.outputs.size(); ++i) {
    const uint32_t output = s.spec->outputs[i];
    s.outputs[i].type.shape[s.axis(output)] = count;
    s.outputs[i].data = s.rows[output].at(s.delivered);
  }
  s.delivered = end;
  return s.outputs;
}

void StreamSession::reset() { state_->clear(); }

}  // namespace pocketuni
