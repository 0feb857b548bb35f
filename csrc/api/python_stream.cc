// pocketuni._core.Stream: StreamSession for Python. Conversions happen under the GIL, running without it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "api/python_module.h"
#include "base/error.h"
#include "graph/stream.h"

namespace py = pybind11;

namespace pocketuni {
namespace {

class PyStream {
 public:
  PyStream(const PyModel& model, const std::string& tower, int threads, const std::string& isa)
      : stream_(model.model, tower, SessionOptions{threads, isa.empty() ? nullptr : isa.c_str()}) {}

  void set_fixed(const std::string& name, const py::object& object) {
    for (uint32_t input : stream_.spec().inputs) {
      const ValueSpec& value = stream_.spec().values[input];
      if (value.name != name) continue;
      const py::array array = input_array(object, value);
      const Tensor tensor = tensor_view(array, value.dtype);
      locked_([&] { stream_.set_fixed(name, tensor); });
      return;
    }
    fail_argument("tower '" + stream_.spec().name + "': there is no input '" + name + "'");
  }

  void push(const py::dict& arrays) {
    std::vector<py::array> keep;
    std::vector<Tensor> rows;
    for (uint32_t input : stream_.spec().inputs) {
      const ValueSpec& value = stream_.spec().values[input];
      if (!stream_.is_pushed(input)) continue;
      if (!arrays.contains(value.name)) fail_argument("input '" + value.name + "' is missing");
      keep.push_back(input_array(arrays[py::str(value.name)], value));
      rows.push_back(tensor_view(keep.back(), value.dtype));
    }
    if (arrays.size() != rows.size())
      fail_argument("an input is unknown or has no rows along '" + stream_.time_dim() + "'");
    locked_([&] { stream_.push(rows); });
  }

  py::dict pull(int64_t most) {
    std::vector<Result> results;
    locked_([&] { results = copy_results(stream_.pull(most)); });
    py::dict outputs;
    for (size_t i = 0; i < results.size(); ++i) {
      outputs[py::str(stream_.spec().values[stream_.spec().outputs[i]].name)] = to_numpy(std::move(results[i]));
    }
    return outputs;
  }

  void finish() {
    locked_([&] { stream_.finish(); });
  }
  void reset() {
    locked_([&] { stream_.reset(); });
  }
  int64_t rows_ready() {
    int64_t rows = 0;
    locked_([&] { rows = stream_.rows_ready(); });
    return rows;
  }
  bool done() {
    bool value = false;
    locked_([&] { value = stream_.done(); });
    return value;
  }
  const StreamSession& stream() const { return stream_; }

 private:
  StreamSession stream_;
  OneAtATime locked_;
};

}  // namespace

void bind_stream(py::module_& m) {
  py::class_<PyStream>(m, "Stream")
      .def(py::init([](const PyModel& model, const std::string& tower, int threads, const std::string& isa) {
             GilReleased release;
             return std::make_unique<PyStream>(model, tower, threads, isa);
           }),
           py::arg("model"), py::arg("tower"), py::arg("threads") = 0, py::arg("isa") = "")
      .def("set_fixed", &PyStream::set_fixed, py::arg("name"), py::arg("array"))
      .def("push", &PyStream::push, py::arg("arrays"))
      .def("finish", &PyStream::finish)
      .def("pull", &PyStream::pull, py::arg("most"))
      .def("reset", &PyStream::reset)
      .def_property_readonly("rows_ready", &PyStream::rows_ready)
      .def_property_readonly("done", &PyStream::done)
      .def_property_readonly("lookahead", [](const PyStream& self) { return self.stream().lookahead(); })
      .def_property_readonly("receptive_field", [](const PyStream& self) { return self.stream().receptive_field(); })
      .def_property_readonly("time_dim", [](const PyStream& self) { return self.stream().time_dim(); });
}

}  // namespace pocketuni
