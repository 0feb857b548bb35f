// pocketuni._core.Together: several towers at once for Python. Conversions happen under the GIL, running without it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "api/python_module.h"
#include "base/error.h"
#include "graph/together.h"

namespace py = pybind11;

namespace pocketuni {
namespace {

class PyTogether {
 public:
  PyTogether(const PyModel& model, const std::vector<std::string>& towers, int threads, const std::string& isa)
      : together_(model.model, towers, SessionOptions{threads, isa.empty() ? nullptr : isa.c_str()}) {}

  py::list run(const std::vector<py::dict>& arrays) {
    if (arrays.size() != together_.size()) fail_argument("inputs for " + std::to_string(arrays.size()) + " towers");
    std::vector<py::array> keep;
    std::vector<std::vector<Tensor>> inputs;
    for (size_t t = 0; t < arrays.size(); ++t) {
      const TowerSpec& spec = together_.spec(t);
      inputs.emplace_back();
      for (uint32_t index : spec.inputs) {
        const ValueSpec& value = spec.values[index];
        if (!arrays[t].contains(value.name)) {
          fail_argument("tower '" + spec.name + "': input '" + value.name + "' is missing");
        }
        keep.push_back(input_array(arrays[t][py::str(value.name)], value));
        inputs.back().push_back(tensor_view(keep.back(), value.dtype));
      }
      if (arrays[t].size() != inputs.back().size()) {
        fail_argument("tower '" + spec.name + "' takes " + std::to_string(inputs.back().size()) + " inputs, got " +
                      std::to_string(arrays[t].size()));
      }
    }
    std::vector<std::vector<Result>> results;
    locked_([&] {
      for (const std::vector<Tensor>& outputs : together_.run(inputs)) results.push_back(copy_results(outputs));
    });
    py::list all;
    for (size_t t = 0; t < results.size(); ++t) {
      const TowerSpec& spec = together_.spec(t);
      py::dict outputs;
      for (size_t i = 0; i < results[t].size(); ++i) {
        outputs[py::str(spec.values[spec.outputs[i]].name)] = to_numpy(std::move(results[t][i]));
      }
      all.append(outputs);
    }
    return all;
  }

  void set_profiling(bool on) {
    locked_([&] { together_.set_profiling(on); });
  }

  py::list profile() {
    std::vector<std::vector<OpProfile>> profiles;
    locked_([&] { profiles = together_.profile(); });
    py::list all;
    for (const std::vector<OpProfile>& tower : profiles) {
      py::list entries;
      for (const OpProfile& entry : tower) {
        py::dict item;
        item["name"] = entry.name;
        item["op"] = entry.op;
        item["seconds"] = entry.seconds;
        item["runs"] = entry.runs;
        entries.append(item);
      }
      all.append(entries);
    }
    return all;
  }

 private:
  Together together_;
  OneAtATime locked_;
};

}  // namespace

void bind_together(py::module_& m) {
  py::class_<PyTogether>(m, "Together")
      .def(py::init(
               [](const PyModel& model, const std::vector<std::string>& towers, int threads, const std::string& isa) {
                 GilReleased release;
                 return std::make_unique<PyTogether>(model, towers, threads, isa);
               }),
           py::arg("model"), py::arg("towers"), py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &PyTogether::run, py::arg("arrays"))
      .def("set_profiling", &PyTogether::set_profiling, py::arg("on"))
      .def("profile", &PyTogether::profile);
}

}  // namespace pocketuni
