// The C interface over Model and Session: every exception becomes a status and a message of the calling thread.
#include <memory>
#include <string>
#include <vector>

#include "api/c_errors.h"
#include "api/c_tensors.h"
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

struct pu_session {
  Session session;
  pocketuni::GivenInputs given{session.spec(), session.spec().inputs};
  const std::vector<Tensor>* outputs = nullptr;  // of the last run that succeeded, or null
};

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
    *session = new pu_session{Session(model->model, tower, options)};
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
    pocketuni::describe(session->session.spec(), session->session.spec().inputs, index, info);
  });
}

pu_status pu_session_output_info(const pu_session* session, size_t index, pu_tensor_info* info) {
  return guarded([&] {
    require(session, "pu_session_output_info", "session");
    require(info, "pu_session_output_info", "info");
    pocketuni::describe(session->session.spec(), session->session.spec().outputs, index, info);
  });
}

pu_status pu_session_set_input(pu_session* session, const char* name, const pu_tensor* tensor) {
  return guarded([&] {
    require(session, "pu_session_set_input", "session");
    require(name, "pu_session_set_input", "name");
    require(tensor, "pu_session_set_input", "tensor");
    session->given.set(name, *tensor);
  });
}

pu_status pu_session_run(pu_session* session) {
  return guarded([&] {
    require(session, "pu_session_run", "session");
    session->outputs = nullptr;  // a run that fails leaves no results
    session->outputs = &session->session.run(session->given.all());
  });
}

pu_status pu_session_get_output(const pu_session* session, const char* name, pu_tensor* tensor) {
  return guarded([&] {
    require(session, "pu_session_get_output", "session");
    require(name, "pu_session_get_output", "name");
    require(tensor, "pu_session_get_output", "tensor");
    const TowerSpec& spec = session->session.spec();
    const size_t index = pocketuni::find_value(spec, spec.outputs, name, "output");
    if (session->outputs == nullptr) fail_argument("no results: pu_session_run was not called or failed");
    pocketuni::fill_tensor((*session->outputs)[index], tensor);
  });
}
