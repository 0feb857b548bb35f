// What the files of pocketuni._core share.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/python_gil.h"
#include "graph/session.h"

namespace pocketuni {

/// Runs one body at a time, without the GIL. The GIL goes before the mutex comes: whoever waits for it holds nothing.
class OneAtATime {
 public:
  template <typename F>
  auto operator()(F body) {
    GilReleased release;
    std::lock_guard<std::mutex> lock(mutex_);
    return body();
  }

 private:
  std::mutex mutex_;
};

struct PyModel {
  std::shared_ptr<const Model> model;

  const TowerSpec& tower(const std::string& name) const { return model->file().towers()[model->tower_index(name)]; }
  /// List of dicts: name, encoding, dims, size.
  pybind11::list tensors() const;
  /// Throws Error(kInvalidArgument) when there is none of that name.
  pybind11::bytes blob(const std::string& name) const;
};

/// The array that a tower reads: the object itself where it can be, else a contiguous copy. Throws
/// Error(kInvalidArgument) for what would lose information: float64 arrays, floats as ints, ints that do not fit.
pybind11::array input_array(const pybind11::handle& object, const ValueSpec& spec);
Tensor tensor_view(const pybind11::array& array, DType dtype);

/// A result copied out of a session, owned until Python takes it.
struct Result {
  TensorType type;
  std::unique_ptr<unsigned char[]> data;
};
std::vector<Result> copy_results(const std::vector<Tensor>& tensors);
pybind11::array to_numpy(Result result);

/// Adds Together.
void bind_together(pybind11::module_& m);
/// Adds StateStream and states.
void bind_state(pybind11::module_& m);
/// Adds Stream.
void bind_stream(pybind11::module_& m);
/// Adds PocketModel, PocketSpeech and is_pocket.
void bind_pocket(pybind11::module_& m);
/// Adds Speech, voice_names, RATE_HZ and MAX_CHUNK_FRAMES.
void bind_speech(pybind11::module_& m);
/// Adds Voice, VoiceBuilder and ENOUGH_CONFIDENCE.
void bind_voice(pybind11::module_& m);

}  // namespace pocketuni
