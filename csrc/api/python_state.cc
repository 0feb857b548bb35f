// pocketuni._core.StateStream: StateSession for Python. Conversions happen under the GIL, running without it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "api/python_module.h"
#include "base/error.h"
#include "graph/state.h"

namespace py = pybind11;

namespace pocketuni {
namespace {

class PyStateStream {
 public:
  PyStateStream(const PyModel& model, const std::string& tower, int threads, const std::string& isa)
      : session_(model.model, tower, SessionOptions{threads, isa.empty() ? nullptr : isa.c_str()}) {}

  py::dict run(const py::dict& arrays) {
    std::vector<py::array> keep;
    std::vector<Tensor> inputs;
    for (uint32_t input : session_.inputs()) {
      const ValueSpec& value = session_.spec().values[input];
      if (!arrays.contains(value.name)) fail_argument("input '" + value.name + "' is missing");
      keep.push_back(input_array(arrays[py::str(value.name)], value));
      inputs.push_back(tensor_view(keep.back(), value.dtype));
    }
    if (arrays.size() != inputs.size()) {
      fail_argument("tower '" + session_.spec().name + "' takes " + std::to_string(inputs.size()) +
                    " inputs besides its state, got " + std::to_string(arrays.size()));
    }
    std::vector<Result> results;
    locked_([&] { results = copy_results(session_.run(inputs)); });
    py::dict outputs;
    for (size_t i = 0; i < results.size(); ++i) {
      outputs[py::str(session_.spec().values[session_.outputs()[i]].name)] = to_numpy(std::move(results[i]));
    }
    return outputs;
  }

  void reset() {
    locked_([&] { session_.reset(); });
  }

  py::list names(const std::vector<uint32_t>& values) const {
    py::list list;
    for (uint32_t value : values) list.append(session_.spec().values[value].name);
    return list;
  }
  const StateSession& session() const { return session_; }

 private:
  StateSession session_;
  OneAtATime locked_;
};

/// Input -> output, by name.
py::dict states_of(const PyModel& model, const std::string& tower) {
  const TowerSpec& spec = model.tower(tower);
  py::dict pairs;
  for (const StatePair& pair : spec.states) {
    pairs[py::str(spec.values[spec.inputs[pair.input]].name)] = spec.values[spec.outputs[pair.output]].name;
  }
  return pairs;
}

}  // namespace

void bind_state(py::module_& m) {
  m.def("states", &states_of, py::arg("model"), py::arg("tower"));
  py::class_<PyStateStream>(m, "StateStream")
      .def(py::init([](const PyModel& model, const std::string& tower, int threads, const std::string& isa) {
             GilReleased release;
             return std::make_unique<PyStateStream>(model, tower, threads, isa);
           }),
           py::arg("model"), py::arg("tower"), py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &PyStateStream::run, py::arg("arrays"))
      .def("reset", &PyStateStream::reset)
      .def_property_readonly("inputs", [](const PyStateStream& self) { return self.names(self.session().inputs()); })
      .def_property_readonly("outputs", [](const PyStateStream& self) { return self.names(self.session().outputs()); });
}

}  // namespace pocketuni
