// What the files of pocketuni._core share.
#pragma once
#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "graph/session.h"

namespace pocketuni {

struct PyModel {
  std::shared_ptr<const Model> model;

  const TowerSpec& tower(const std::string& name) const { return model->file().towers()[model->tower_index(name)]; }
  /// List of dicts: name, encoding, dims, size.
  pybind11::list tensors() const;
  /// Throws Error(kInvalidArgument) when there is none of that name.
  pybind11::bytes blob(const std::string& name) const;
};

/// Adds Speech, voice_names, RATE_HZ and MAX_CHUNK_FRAMES.
void bind_speech(pybind11::module_& m);

}  // namespace pocketuni
