// The C interface over streams, and over several towers at once.
#include <memory>
#include <string>
#include <vector>

#include "api/c_errors.h"
#include "api/c_tensors.h"
#include "api/pocketuni.h"
#include "base/error.h"
#include "graph/state.h"
#include "graph/stream.h"
#include "graph/together.h"

using pocketuni::fail_argument;
using pocketuni::GivenInputs;
using pocketuni::guarded;
using pocketuni::require;
using pocketuni::StateSession;
using pocketuni::StreamSession;
using pocketuni::Tensor;
using pocketuni::Together;
using pocketuni::TowerSpec;

namespace {

constexpr int64_t kAllRows = int64_t{1} << 40;

pocketuni::SessionOptions checked_options(const char* function, int threads, const char* isa) {
  if (threads < 0 || threads > 64) {
    fail_argument(std::string(function) + ": threads is " + std::to_string(threads) + ", expected 0 to 64");
  }
  return {threads, isa};
}

}  // namespace

/// One of the two is there: `state` for a tower with state, `rows` for another.
struct pu_stream {
  std::unique_ptr<StateSession> state;
  std::unique_ptr<StreamSession> rows;
  std::vector<uint32_t> inputs, outputs;
  std::unique_ptr<GivenInputs> given;            // of the next chunk
  const std::vector<Tensor>* results = nullptr;  // of the last call that succeeded, or null

  const TowerSpec& spec() const { return state ? state->spec() : rows->spec(); }
};

struct pu_together {
  Together together;
  std::vector<std::unique_ptr<GivenInputs>> given;  // [tower]
  const std::vector<std::vector<Tensor>>* results = nullptr;

  void check(const char* function, size_t tower) const {
    if (tower < given.size()) return;
    fail_argument(std::string(function) + ": tower " + std::to_string(tower) + " of " + std::to_string(given.size()));
  }
};

pu_status pu_stream_create(const pu_model* model, const char* tower, int threads, const char* isa, pu_stream** stream) {
  return guarded([&] {
    require(model, "pu_stream_create", "model");
    require(tower, "pu_stream_create", "tower");
    require(stream, "pu_stream_create", "stream");
    *stream = nullptr;
    const pocketuni::SessionOptions options = checked_options("pu_stream_create", threads, isa);
    auto made = std::make_unique<pu_stream>();
    if (model->model->file().towers()[model->model->tower_index(tower)].states.empty()) {
      made->rows = std::make_unique<StreamSession>(model->model, tower, options);
      for (uint32_t input : made->spec().inputs) {
        if (made->rows->is_pushed(input)) made->inputs.push_back(input);
      }
      made->outputs = made->spec().outputs;
    } else {
      made->state = std::make_unique<StateSession>(model->model, tower, options);
      made->inputs = made->state->inputs();
      made->outputs = made->state->outputs();
    }
    made->given = std::make_unique<GivenInputs>(made->spec(), made->inputs);
    *stream = made.release();
  });
}

void pu_stream_free(pu_stream* stream) { delete stream; }
size_t pu_stream_input_count(const pu_stream* stream) { return stream == nullptr ? 0 : stream->inputs.size(); }
size_t pu_stream_output_count(const pu_stream* stream) { return stream == nullptr ? 0 : stream->outputs.size(); }

pu_status pu_stream_input_info(const pu_stream* stream, size_t index, pu_tensor_info* info) {
  return guarded([&] {
    require(stream, "pu_stream_input_info", "stream");
    require(info, "pu_stream_input_info", "info");
    pocketuni::describe(stream->spec(), stream->inputs, index, info);
  });
}

pu_status pu_stream_output_info(const pu_stream* stream, size_t index, pu_tensor_info* info) {
  return guarded([&] {
    require(stream, "pu_stream_output_info", "stream");
    require(info, "pu_stream_output_info", "info");
    pocketuni::describe(stream->spec(), stream->outputs, index, info);
  });
}

pu_status pu_stream_set_input(pu_stream* stream, const char* name, const pu_tensor* tensor) {
  return guarded([&] {
    require(stream, "pu_stream_set_input", "stream");
    require(name, "pu_stream_set_input", "name");
    require(tensor, "pu_stream_set_input", "tensor");
    if (stream->rows) {
      for (uint32_t input : stream->spec().inputs) {
        if (stream->rows->is_pushed(input) || stream->spec().values[input].name != name) continue;
        stream->rows->set_fixed(name, pocketuni::checked_tensor(*tensor, name));
        return;
      }
    }
    stream->given->set(name, *tensor);
  });
}

pu_status pu_stream_run(pu_stream* stream) {
  return guarded([&] {
    require(stream, "pu_stream_run", "stream");
    stream->results = nullptr;  // a run that fails leaves no results
    const std::vector<Tensor>& chunk = stream->given->all();
    if (stream->state) {
      stream->results = &stream->state->run(chunk);
      return;
    }
    stream->rows->push(chunk);
    stream->results = &stream->rows->pull(kAllRows);
  });
}

pu_status pu_stream_finish(pu_stream* stream) {
  return guarded([&] {
    require(stream, "pu_stream_finish", "stream");
    stream->results = nullptr;
    if (!stream->rows) return;
    stream->rows->finish();
    stream->results = &stream->rows->pull(kAllRows);
  });
}

pu_status pu_stream_get_output(const pu_stream* stream, const char* name, pu_tensor* tensor) {
  return guarded([&] {
    require(stream, "pu_stream_get_output", "stream");
    require(name, "pu_stream_get_output", "name");
    require(tensor, "pu_stream_get_output", "tensor");
    const size_t index = pocketuni::find_value(stream->spec(), stream->outputs, name, "output");
    if (stream->results == nullptr) fail_argument("no results: pu_stream_run was not called or failed");
    pocketuni::fill_tensor((*stream->results)[index], tensor);
  });
}

pu_status pu_stream_reset(pu_stream* stream) {
  return guarded([&] {
    require(stream, "pu_stream_reset", "stream");
    stream->results = nullptr;
    stream->state ? stream->state->reset() : stream->rows->reset();
  });
}

pu_status pu_together_create(const pu_model* model, const char* const* towers, size_t count, int threads,
                             const char* isa, pu_together** together) {
  return guarded([&] {
    require(model, "pu_together_create", "model");
    require(towers, "pu_together_create", "towers");
    require(together, "pu_together_create", "together");
    *together = nullptr;
    std::vector<std::string> names;
    for (size_t i = 0; i < count; ++i) {
      require(towers[i], "pu_together_create", "a tower");
      names.emplace_back(towers[i]);
    }
    std::unique_ptr<pu_together> made(new pu_together{
        Together(model->model, names, checked_options("pu_together_create", threads, isa)), {}, nullptr});
    for (size_t t = 0; t < count; ++t) {
      const TowerSpec& spec = made->together.spec(t);
      made->given.push_back(std::make_unique<GivenInputs>(spec, spec.inputs));
    }
    *together = made.release();
  });
}

void pu_together_free(pu_together* together) { delete together; }

pu_status pu_together_set_input(pu_together* together, size_t tower, const char* name, const pu_tensor* tensor) {
  return guarded([&] {
    require(together, "pu_together_set_input", "together");
    require(name, "pu_together_set_input", "name");
    require(tensor, "pu_together_set_input", "tensor");
    together->check("pu_together_set_input", tower);
    together->given[tower]->set(name, *tensor);
  });
}

pu_status pu_together_run(pu_together* together) {
  return guarded([&] {
    require(together, "pu_together_run", "together");
    together->results = nullptr;
    std::vector<std::vector<Tensor>> inputs;
    for (const std::unique_ptr<GivenInputs>& given : together->given) inputs.push_back(given->all());
    together->results = &together->together.run(inputs);
  });
}

pu_status pu_together_get_output(const pu_together* together, size_t tower, const char* name, pu_tensor* tensor) {
  return guarded([&] {
    require(together, "pu_together_get_output", "together");
    require(name, "pu_together_get_output", "name");
    require(tensor, "pu_together_get_output", "tensor");
    together->check("pu_together_get_output", tower);
    const TowerSpec& spec = together->together.spec(tower);
    const size_t index = pocketuni::find_value(spec, spec.outputs, name, "output");
    if (together->results == nullptr) fail_argument("no results: pu_together_run was not called or failed");
    pocketuni::fill_tensor((*together->results)[tower][index], tensor);
  });
}
