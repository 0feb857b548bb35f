// The Python module: Model and Session with NumPy arrays in and out. Policy (names, defaults, text) lives in Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "graph/session.h"

namespace py = pybind11;
using namespace pocketuni;

namespace {

py::dtype numpy_dtype(DType dtype) { return py::dtype(dtype_name(dtype)); }

DType dtype_of(const py::array& array, const std::string& name) {
  for (DType dtype : {DType::kF32, DType::kI32, DType::kI64, DType::kBool}) {
    if (array.dtype().is(numpy_dtype(dtype))) return dtype;
  }
  throw Error(Status::kInvalidArgument, "input '" + name + "': dtype " + std::string(py::str(array.dtype())) +
                                            " is not one of float32, int32, int64, bool");
}

py::list dims_of(const TowerSpec& spec, const ValueSpec& value) {
  py::list dims;
  for (Dim dim : value.dims) {
    if (dim <= -2) {
      dims.append(spec.named_dims[static_cast<size_t>(-2 - dim)]);
    } else if (dim == kComputed) {
      dims.append(py::none());
    } else {
      dims.append(dim);
    }
  }
  return dims;
}

py::list values_of(const TowerSpec& spec, const std::vector<uint32_t>& indices) {
  py::list out;
  for (uint32_t index : indices) {
    const ValueSpec& value = spec.values[index];
    out.append(py::make_tuple(value.name, dtype_name(value.dtype), dims_of(spec, value)));
  }
  return out;
}

py::list nodes_of(const Model& model, const TowerSpec& spec) {
  py::list out;
  for (const NodeSpec& node : spec.nodes) {
    py::list operands;
    for (const Operand& operand : node.inputs) {
      if (operand.kind == Operand::kAbsent) operands.append(py::none());
      if (operand.kind == Operand::kValue) operands.append(spec.values[operand.index].name);
      if (operand.kind == Operand::kTensor) operands.append(model.file().tensors()[operand.index].name);
    }
    out.append(py::make_tuple(node.op, node.name, operands));
  }
  return out;
}

class PySession {
 public:
  PySession(std::shared_ptr<const Model> model, const std::string& tower, int threads, const std::optional<std::string>& isa)
      : session_(std::move(model), tower, {threads, isa ? isa->c_str() : nullptr}) {}

  // Arrays are contiguous and of the exact dtype: the Python layer sees to it. Results are copies.
  py::list run(const std::vector<py::array>& arrays) {
    std::vector<Tensor> inputs;
    const TowerSpec& spec = session_.spec();
    for (size_t i = 0; i < arrays.size(); ++i) {
      const std::string name = i < spec.inputs.size() ? spec.values[spec.inputs[i]].name : std::to_string(i);
      Tensor input;
      input.type.dtype = dtype_of(arrays[i], name);
      input.type.shape.assign(arrays[i].shape(), arrays[i].shape() + arrays[i].ndim());
      if (!(arrays[i].flags() & py::array::c_style)) fail_argument("input '" + name + "' is not contiguous");
      input.data = const_cast<void*>(arrays[i].data());
      inputs.push_back(std::move(input));
    }
    // The lock is taken without the GIL: a thread that holds it may be about to wait for the GIL.
    std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
    const std::vector<Tensor>* outputs = nullptr;
    {
      py::gil_scoped_release release;
      lock.lock();
      outputs = &session_.run(inputs);
    }
    py::list results;
    for (const Tensor& output : *outputs) {
      py::array array(numpy_dtype(output.type.dtype), output.type.shape);
      const size_t bytes = static_cast<size_t>(array.nbytes());
      if (bytes) std::memcpy(array.mutable_data(), output.data, bytes);
      results.append(array);
    }
    return results;
  }

  Session& session() { return session_; }

 private:
  std::mutex mutex_;
  Session session_;
};

py::list tensors_of(const Model& model) {
  py::list out;
  for (const TensorEntry& tensor : model.file().tensors()) {
    out.append(py::make_tuple(tensor.name, encoding_name(tensor.encoding), tensor.dims, tensor.size));
  }
  return out;
}

py::bytes blob_of(const Model& model, const std::string& name) {
  for (const Blob& blob : model.file().blobs()) {
    if (blob.name == name) return py::bytes(reinterpret_cast<const char*>(blob.data), blob.size);
  }
  throw Error(Status::kInvalidArgument, model.file().path() + " holds no data named '" + name + "'");
}

void translate(const Error& error, PyObject* format_error) {
  switch (error.status()) {
    case Status::kIo: PyErr_SetString(PyExc_OSError, error.what()); break;
    case Status::kFormat: PyErr_SetString(format_error, error.what()); break;
    case Status::kOutOfMemory: PyErr_SetString(PyExc_MemoryError, error.what()); break;
    case Status::kInvalidArgument: PyErr_SetString(PyExc_ValueError, error.what()); break;
    default: PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  static PyObject* format_error = PyErr_NewExceptionWithDoc(
      "pocketuni.ModelFileError", "The file is not a valid model file; the message names it and says what is wrong.",
      PyExc_ValueError, nullptr);
  m.attr("ModelFileError") = py::handle(format_error);
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      translate(error, format_error);
    }
  });

  m.attr("version") = POCKETUNI_VERSION;
  m.def("usable_cpus", &usable_cpus);
  m.def("usable_isas", [] {
    py::list names;
    for (const Kernels* const* k = usable_kernels(); *k; ++k) names.append((*k)->isa);
    return names;
  });

  py::class_<Model, std::shared_ptr<Model>>(m, "Model")
      .def(py::init([](const std::string& path) { return std::const_pointer_cast<Model>(Model::open(path)); }),
           py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("path", [](const Model& self) { return self.file().path(); })
      .def_property_readonly("file_size", [](const Model& self) { return self.file().file_size(); })
      .def_property_readonly("meta_json", [](const Model& self) { return self.file().meta_json(); })
      .def_property_readonly("tower_names",
                             [](const Model& self) {
                               py::list names;
                               for (const TowerSpec& spec : self.file().towers()) names.append(spec.name);
                               return names;
                             })
      .def("inputs",
           [](const Model& self, const std::string& name) {
             const TowerSpec& spec = self.file().towers()[self.tower_index(name)];
             return values_of(spec, spec.inputs);
           })
      .def("outputs",
           [](const Model& self, const std::string& name) {
             const TowerSpec& spec = self.file().towers()[self.tower_index(name)];
             return values_of(spec, spec.outputs);
           })
      .def("nodes",
           [](const Model& self, const std::string& name) {
             return nodes_of(self, self.file().towers()[self.tower_index(name)]);
           })
      .def("tensors", &tensors_of)
      .def("blob", &blob_of)
      .def(
          "verify_weights", [](const Model& self) { return self.file().verify_weights(); },
          py::call_guard<py::gil_scoped_release>());

  py::class_<PySession>(m, "Session")
      .def(py::init([](std::shared_ptr<Model> model, const std::string& tower, int threads,
                       const std::optional<std::string>& isa) {
             return std::make_unique<PySession>(std::move(model), tower, threads, isa);
           }),
           py::arg("model"), py::arg("tower"), py::arg("threads") = 0, py::arg("isa") = py::none())
      .def("run", &PySession::run)
      .def_property_readonly("isa", [](PySession& self) { return self.session().isa(); })
      .def_property_readonly("threads", [](PySession& self) { return self.session().threads(); })
      .def("set_profiling", [](PySession& self, bool on) { self.session().set_profiling(on); })
      .def("profile", [](PySession& self) {
        py::list out;
        for (const OpProfile& p : self.session().profile()) out.append(py::make_tuple(p.name, p.op, p.seconds, p.runs));
        return out;
      });
}
