#include "graph/stream.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/denormals.h"
#include "base/error.h"
#include "graph/stream_state.h"

namespace pocketuni {

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
    const size_t bytes = stream_bytes(value.type);
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
  s.model->file().require_whole();
  const FlushDenormals flush;
  if (!s.prepared) s.prepare(pushed);
  size_t next = 0;
  for (uint32_t input : s.spec->inputs) {
    if (!s.timed(input)) continue;
    const Tensor& tensor = pushed[next++];
    const size_t bytes = stream_bytes(tensor.type);
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
