// The C interface over Model and Session: every exception becomes a status and a message of the calling thread.
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "api/c_errors.h"
#include "api/pocketuni.h"
#include "base/error.h"
#include "graph/session.h"
#include "lm/pocket_settings.h"

#ifndef POCKETUNI_VERSION
#define POCKETUNI_VERSION "unknown"
#endif

using pocketuni::fail_argument;
using pocketuni::guarded;
using pocketuni::require;
using pocketuni::Session;
using pocketuni::Tensor;
using pocketuni::TowerSpec;
using pocketuni::ValueSpec;

struct pu_session {
  Session session;
  std::vector<Tensor> inputs;  // in the order of spec().inputs
  std::vector<bool> is_set;
  const std::vector<Tensor>* outputs = nullptr;  // of the last run that succeeded, or null
};

namespace {

/// Position of the value called `name` among `indices`; throws an Error that lists the names there are.
size_t find_value(const TowerSpec& spec, const std::vector<uint32_t>& indices, const char* name, const char* kind) {
  std::string known;
  for (size_t i = 0; i < indices.size(); ++i) {
    const std::string& candidate = spec.values[indices[i]].name;
    if (candidate == name) return i;
    known += (i == 0 ? "" : ", ") + candidate;
  }
  fail_argument("tower '" + spec.name + "' has no " + kind + " '" + name + "'; there are: " + known);
}

Tensor checked_tensor(const pu_tensor& from, const char* name) {
  const std::string where = "input '" + std::string(name) + "': ";
  if (from.dtype < PU_FLOAT32 || from.dtype > PU_BOOL) {
    fail_argument(where + "dtype " + std::to_string(from.dtype) + " is not one of pu_dtype");
  }
  if (from.rank < 0 || from.rank > PU_MAX_RANK) {
    fail_argument(where + "rank " + std::to_string(from.rank) + ", expected 0 to 8");
  }
  Tensor tensor;
  tensor.type.dtype = static_cast<pocketuni::DType>(from.dtype);
  tensor.data = from.data;
  int64_t limit = std::numeric_limits<int64_t>::max() / 8;  // bytes must fit too
  bool empty = false;
  for (int i = 0; i < from.rank; ++i) {
    const int64_t size = from.shape[i];
    if (size < 0) fail_argument(where + "dimension " + std::to_string(i) + " is " + std::to_string(size));
    if (size > limit) fail_argument(where + "the shape has too many elements");
    if (size > 0) limit /= size;
    empty = empty || size == 0;
    tensor.type.shape.push_back(size);
  }
  if (from.data == nullptr && !empty) fail_argument(where + "data is NULL");
  return tensor;
}

void describe(const TowerSpec& spec, const std::vector<uint32_t>& indices, size_t index, pu_tensor_info* info) {
  if (index >= indices.size()) {
    fail_argument("index " + std::to_string(index) + " is out of range: tower '" + spec.name + "' has " +
                  std::to_string(indices.size()));
  }
  const ValueSpec& value = spec.values[indices[index]];
  std::memset(info, 0, sizeof *info);
  info->name = value.name.c_str();
  info->dtype = static_cast<pu_dtype>(value.dtype);
  info->rank = static_cast<int32_t>(value.dims.size());
  for (size_t i = 0; i < PU_MAX_RANK; ++i) info->dim_names[i] = "";
  for (size_t i = 0; i < value.dims.size(); ++i) {
    const pocketuni::Dim dim = value.dims[i];
    info->shape[i] = dim >= 0 ? dim : -1;
    if (dim < pocketuni::kComputed) info->dim_names[i] = spec.named_dims[static_cast<size_t>(-2 - dim)].c_str();
  }
}

}  // namespace

const char* pu_version(void) { return POCKETUNI_VERSION; }

const char* pu_last_error(void) { return pocketuni::last_error(); }

pu_status pu_model_open(const char* path, pu_model** model) {
  return guarded([&] {
    require(path, "pu_model_open", "path");
    require(model, "pu_model_open", "model");
    *model = nullptr;
    *model = new pu_model{pocketuni::open_model(path)};
  });
}

pu_status pu_model_open_memory(const void* data, size_t size, pu_model** model) {
  return guarded([&] {
    require(data, "pu_model_open_memory", "data");
    require(model, "pu_model_open_memory", "model");
    *model = nullptr;
    *model = new pu_model{pocketuni::Model::from_memory(data, size)};
  });
}

void pu_model_close(pu_model* model) { delete model; }

size_t pu_model_tower_count(const pu_model* model) {
  return model == nullptr ? 0 : model->model->file().towers().size();
}

const char* pu_model_tower_name(const pu_model* model, size_t index) {
  return index < pu_model_tower_count(model) ? model->model->file().towers()[index].name.c_str() : nullptr;
}

const char* pu_model_meta_json(const pu_model* model) {
  return model == nullptr ? nullptr : model->model->file().meta_json().c_str();
}

pu_status pu_model_blob(const pu_model* model, const char* name, const void** data, size_t* size) {
  return guarded([&] {
    require(model, "pu_model_blob", "model");
    require(name, "pu_model_blob", "name");
    require(data, "pu_model_blob", "data");
    require(size, "pu_model_blob", "size");
    for (const pocketuni::Blob& blob : model->model->file().blobs()) {
      if (blob.name != name) continue;
      *data = blob.data;
      *size = static_cast<size_t>(blob.size);
      return;
    }
    fail_argument("the model has no blob '" + std::string(name) + "'");
  });
}

pu_status pu_session_create(const pu_model* model, const char* tower, int threads, const char* isa,
                            pu_session** session) {
  return guarded([&] {
    require(model, "pu_session_create", "model");
    require(tower, "pu_session_create", "tower");
    require(session, "pu_session_create", "session");
    *session = nullptr;
    if (threads < 0 || threads > 64) {
      fail_argument("pu_session_create: threads is " + std::to_string(threads) + ", expected 0 to 64");
    }
    pocketuni::SessionOptions options;
    options.threads = threads;
    options.isa = isa;
    std::unique_ptr<pu_session> made(new pu_session{Session(model->model, tower, options), {}, {}});
    made->inputs.resize(made->session.spec().inputs.size());
    made->is_set.resize(made->inputs.size(), false);
    *session = made.release();
  });
}

void pu_session_free(pu_session* session) { delete session; }

size_t pu_session_input_count(const pu_session* session) {
  return session == nullptr ? 0 : session->session.spec().inputs.size();
}

size_t pu_session_output_count(const pu_session* session) {
  return session == nullptr ? 0 : session->session.spec().outputs.size();
}

pu_status pu_session_input_info(const pu_session* session, size_t index, pu_tensor_info* info) {
  return guarded([&] {
    require(session, "pu_session_input_info", "session");
    require(info, "pu_session_input_info", "info");
    describe(session->session.spec(), session->session.spec().inputs, index, info);
  });
}

pu_status pu_session_output_info(const pu_session* session, size_t index, pu_tensor_info* info) {
  return guarded([&] {
    require(session, "pu_session_output_info", "session");
    require(info, "pu_session_output_info", "info");
    describe(session->session.spec(), session->session.spec().outputs, index, info);
  });
}

pu_status pu_session_set_input(pu_session* session, const char* name, const pu_tensor* tensor) {
  return guarded([&] {
    require(session, "pu_session_set_input", "session");
    require(name, "pu_session_set_input", "name");
    require(tensor, "pu_session_set_input", "tensor");
    const TowerSpec& spec = session->session.spec();
    const size_t index = find_value(spec, spec.inputs, name, "input");
    session->inputs[index] = checked_tensor(*tensor, name);
    session->is_set[index] = true;
  });
}

pu_status pu_session_run(pu_session* session) {
  return guarded([&] {
    require(session, "pu_session_run", "session");
    const TowerSpec& spec = session->session.spec();
    session->outputs = nullptr;  // a run that fails leaves no results
    for (size_t i = 0; i < session->inputs.size(); ++i) {
      if (!session->is_set[i]) fail_argument("input '" + spec.values[spec.inputs[i]].name + "' was not set");
    }
    session->outputs = &session->session.run(session->inputs);
  });
}

pu_status pu_session_get_output(const pu_session* session, const char* name, pu_tensor* tensor) {
  return guarded([&] {
    require(session, "pu_session_get_output", "session");
    require(name, "pu_session_get_output", "name");
    require(tensor, "pu_session_get_output", "tensor");
    const TowerSpec& spec = session->session.spec();
    const size_t index = find_value(spec, spec.outputs, name, "output");
    if (session->outputs == nullptr) fail_argument("no results: pu_session_run was not called or failed");
    const Tensor& from = (*session->outputs)[index];
    std::memset(tensor, 0, sizeof *tensor);
    tensor->dtype = static_cast<pu_dtype>(from.type.dtype);
    tensor->rank = static_cast<int32_t>(from.type.shape.size());
    for (size_t i = 0; i < from.type.shape.size(); ++i) tensor->shape[i] = from.type.shape[i];
    tensor->data = from.data;
  });
}
