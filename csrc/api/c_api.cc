// The C interface over Model and Session: nothing is thrown across it, and every failure leaves a message.
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "api/pocketuni.h"
#include "base/error.h"
#include "graph/session.h"

using pocketuni::DType;
using pocketuni::Error;
using pocketuni::Model;
using pocketuni::Session;
using pocketuni::Status;
using pocketuni::Tensor;
using pocketuni::ValueSpec;

struct pu_model {
  std::shared_ptr<const Model> model;
};

struct pu_session {
  pu_session(std::shared_ptr<const Model> model, const char* tower, const pocketuni::SessionOptions& options)
      : session(std::move(model), tower, options), inputs(session.spec().inputs.size()) {}
  Session session;
  std::vector<Tensor> inputs;             // by position; data null until set
  const std::vector<Tensor>* outputs = nullptr;
};

namespace {

thread_local std::string last_error;

/// Runs `body`; turns what it throws into a status and this thread's message.
template <typename F>
pu_status guarded(F body) noexcept {
  try {
    try {
      last_error.clear();
      body();
      return PU_OK;
    } catch (const Error& error) {
      last_error = error.what();
      return static_cast<pu_status>(error.status());
    } catch (const std::bad_alloc&) {
      last_error = "not enough memory";
      return PU_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
      last_error = error.what();
      return PU_INTERNAL;
    }
  } catch (...) {  // not even the message could be stored
    return PU_OUT_OF_MEMORY;
  }
}

template <typename T>
T* required(T* pointer, const char* what) {
  if (pointer == nullptr) pocketuni::fail_argument(std::string(what) + " is NULL");
  return pointer;
}

void describe(const Session& session, const std::vector<uint32_t>& values, size_t index, pu_tensor_info* info) {
  required(info, "info");
  if (index >= values.size()) {
    pocketuni::fail_argument("index " + std::to_string(index) + " is out of range: there are " + std::to_string(values.size()));
  }
  const ValueSpec& value = session.spec().values[values[index]];
  *info = pu_tensor_info{};
  info->name = value.name.c_str();
  info->dtype = static_cast<pu_dtype>(value.dtype);
  info->rank = static_cast<int32_t>(value.dims.size());
  for (size_t i = 0; i < PU_MAX_RANK; ++i) info->dim_names[i] = "";
  for (size_t i = 0; i < value.dims.size(); ++i) {
    info->shape[i] = value.dims[i] < 0 ? -1 : value.dims[i];
    if (value.dims[i] <= -2) info->dim_names[i] = session.spec().named_dims[static_cast<size_t>(-2 - value.dims[i])].c_str();
  }
}

size_t position(const Session& session, const std::vector<uint32_t>& values, const char* name, const char* kind) {
  std::string known;
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string& have = session.spec().values[values[i]].name;
    if (have == required(name, "name")) return i;
    known += (i ? ", " : "") + have;
  }
  pocketuni::fail_argument("there is no " + std::string(kind) + " '" + name + "'; there are: " + known);
}

}  // namespace

const char* pu_version(void) { return POCKETUNI_VERSION; }
const char* pu_last_error(void) { return last_error.c_str(); }

pu_status pu_model_open(const char* path, pu_model** model) {
  return guarded([&] { *required(model, "model") = new pu_model{Model::open(required(path, "path"))}; });
}

pu_status pu_model_open_memory(const void* data, size_t size, pu_model** model) {
  return guarded([&] { *required(model, "model") = new pu_model{Model::from_memory(required(data, "data"), size)}; });
}

void pu_model_close(pu_model* model) { delete model; }

size_t pu_model_tower_count(const pu_model* model) { return model ? model->model->file().towers().size() : 0; }

const char* pu_model_tower_name(const pu_model* model, size_t index) {
  if (index >= pu_model_tower_count(model)) return nullptr;
  return model->model->file().towers()[index].name.c_str();
}

pu_status pu_session_create(const pu_model* model, const char* tower, int threads, const char* isa,
                            pu_session** session) {
  return guarded([&] {
    required(session, "session");
    *session = new pu_session(required(model, "model")->model, required(tower, "tower"), {threads, isa});
  });
}

void pu_session_free(pu_session* session) { delete session; }

size_t pu_session_input_count(const pu_session* session) { return session ? session->inputs.size() : 0; }

size_t pu_session_output_count(const pu_session* session) {
  return session ? session->session.spec().outputs.size() : 0;
}

pu_status pu_session_input_info(const pu_session* session, size_t index, pu_tensor_info* info) {
  return guarded([&] { describe(required(session, "session")->session, session->session.spec().inputs, index, info); });
}

pu_status pu_session_output_info(const pu_session* session, size_t index, pu_tensor_info* info) {
  return guarded([&] { describe(required(session, "session")->session, session->session.spec().outputs, index, info); });
}

pu_status pu_session_set_input(pu_session* session, const char* name, const pu_tensor* tensor) {
  return guarded([&] {
    required(session, "session");
    required(tensor, "tensor");
    if (tensor->rank < 0 || tensor->rank > PU_MAX_RANK) pocketuni::fail_argument("a rank must be from 0 to 8");
    if (tensor->dtype < PU_FLOAT32 || tensor->dtype > PU_BOOL) pocketuni::fail_argument("the dtype is not known");
    Tensor input;
    input.type.dtype = static_cast<DType>(tensor->dtype);
    input.type.shape.assign(tensor->shape, tensor->shape + tensor->rank);
    input.data = tensor->data;
    session->inputs[position(session->session, session->session.spec().inputs, name, "input")] = std::move(input);
  });
}

pu_status pu_session_run(pu_session* session) {
  return guarded([&] {
    required(session, "session")->outputs = nullptr;
    session->outputs = &session->session.run(session->inputs);
  });
}

pu_status pu_session_get_output(const pu_session* session, const char* name, pu_tensor* tensor) {
  return guarded([&] {
    required(session, "session");
    required(tensor, "tensor");
    const size_t index = position(session->session, session->session.spec().outputs, name, "output");
    if (session->outputs == nullptr) pocketuni::fail_argument("there is no result yet: call pu_session_run first");
    const Tensor& output = (*session->outputs)[index];
    *tensor = pu_tensor{};
    tensor->dtype = static_cast<pu_dtype>(output.type.dtype);
    tensor->rank = static_cast<int32_t>(output.type.shape.size());
    std::memcpy(tensor->shape, output.type.shape.data(), output.type.shape.size() * sizeof(int64_t));
    tensor->data = output.data;
  });
}
