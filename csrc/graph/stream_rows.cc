// The part of a stream that happens to rows: which can be computed, which must be, which are no longer needed.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "graph/stream_state.h"

namespace pocketuni {
namespace {

constexpr int64_t kEndless = int64_t{1} << 40;  // rows of a value that no input limits

}  // namespace

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

}  // namespace pocketuni
