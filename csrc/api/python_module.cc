// pocketuni._core: Model and Session for Python; python_speech.cc adds Speech. Conversions happen under the GIL,
// opening and running without it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "api/python_module.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "graph/session.h"
#include "kernels/kernels.h"
#include "lm/pocket_settings.h"

namespace py = pybind11;
using namespace pocketuni;

py::list PyModel::tensors() const {
  py::list list;
  for (const TensorEntry& tensor : model->file().tensors()) {
    py::dict entry;
    entry["name"] = tensor.name;
    entry["encoding"] = encoding_name(tensor.encoding);
    entry["dims"] = py::tuple(py::cast(tensor.dims));
    entry["size"] = tensor.size;
    list.append(entry);
  }
  return list;
}

py::bytes PyModel::blob(const std::string& name) const {
  for (const Blob& blob : model->file().blobs()) {
    if (blob.name == name) return py::bytes(reinterpret_cast<const char*>(blob.data), blob.size);
  }
  fail_argument("the model has no blob '" + name + "'");
}

namespace {

py::dtype numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return py::dtype::of<float>();
    case DType::kI32:
      return py::dtype::of<int32_t>();
    case DType::kI64:
      return py::dtype::of<int64_t>();
    case DType::kBool:
      return py::dtype::of<bool>();
  }
  fail_argument("unknown dtype");
}

// --- what is in a file -----------------------------------------------------------------------------------------------

/// A dim as Python sees it: a size, the name of a dimension, or "?" for what only a run knows.
py::object dim_object(const TowerSpec& tower, Dim dim) {
  if (dim >= 0) return py::int_(dim);
  if (dim == kComputed) return py::str("?");
  return py::str(tower.named_dims[static_cast<size_t>(-2 - dim)]);
}

py::tuple value_tuple(const TowerSpec& tower, uint32_t index) {
  const ValueSpec& value = tower.values[index];
  py::tuple shape(value.dims.size());
  for (size_t i = 0; i < value.dims.size(); ++i) shape[i] = dim_object(tower, value.dims[i]);
  return py::make_tuple(value.name, dtype_name(value.dtype), shape);
}

py::list value_list(const TowerSpec& tower, const std::vector<uint32_t>& indices) {
  py::list list;
  for (uint32_t index : indices) list.append(value_tuple(tower, index));
  return list;
}

py::list node_list(const ModelFile& file, const TowerSpec& tower) {
  py::list nodes;
  for (const NodeSpec& node : tower.nodes) {
    py::list inputs, outputs;
    for (const Operand& operand : node.inputs) {
      if (operand.kind == Operand::kAbsent) {
        inputs.append(py::none());
      } else {
        const bool is_tensor = operand.kind == Operand::kTensor;
        inputs.append(py::make_tuple(is_tensor ? "tensor" : "value", is_tensor ? file.tensors()[operand.index].name
                                                                               : tower.values[operand.index].name));
      }
    }
    for (uint32_t output : node.outputs) outputs.append(tower.values[output].name);
    py::dict attributes;
    for (const Attribute& attribute : node.attributes) {
      attributes[py::str(attribute.name)] =
          std::visit([](const auto& value) -> py::object { return py::cast(value); }, attribute.value);
    }
    py::dict entry;
    entry["op"] = node.op;
    entry["name"] = node.name;
    entry["inputs"] = inputs;
    entry["outputs"] = outputs;
    entry["attributes"] = attributes;
    nodes.append(entry);
  }
  return nodes;
}

// --- inputs ----------------------------------------------------------------------------------------------------------

[[noreturn]] void fail_dtype(const ValueSpec& spec, const py::handle& got) {
  fail_argument("input '" + spec.name + "': expected " + dtype_name(spec.dtype) + ", got " +
                py::str(got).cast<std::string>());
}

bool fits(const py::array& array, DType wanted) {
  if (array.size() == 0) return true;
  const bool narrow = wanted == DType::kI32;
  const int64_t low = narrow ? std::numeric_limits<int32_t>::min() : std::numeric_limits<int64_t>::min();
  const int64_t high = narrow ? std::numeric_limits<int32_t>::max() : std::numeric_limits<int64_t>::max();
  const py::int_ smallest(array.attr("min")()), largest(array.attr("max")());
  return !(smallest < py::int_(low)) && !(largest > py::int_(high));
}

}  // namespace

py::array pocketuni::input_array(const py::handle& object, const ValueSpec& spec) {
  const bool typed = py::hasattr(object, "dtype");  // arrays say what they are; lists and scalars are converted
  py::array array;
  try {
    array = py::module_::import("numpy").attr("asarray")(object).cast<py::array>();
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_TypeError)) throw;
    fail_argument("input '" + spec.name + "': not an array: " + py::str(error.value()).cast<std::string>());
  }
  const py::dtype wanted = numpy_dtype(spec.dtype);
  const char kind = array.dtype().kind();
  const bool is_integer = kind == 'i' || kind == 'u';
  if (!array.dtype().equal(wanted)) {
    bool allowed = !typed && array.size() == 0;  // NumPy calls an empty list float64
    if (spec.dtype == DType::kI32 || spec.dtype == DType::kI64) {
      if (is_integer && !fits(array, spec.dtype)) {
        fail_argument("input '" + spec.name + "': a value does not fit " + dtype_name(spec.dtype));
      }
      allowed = allowed || is_integer || kind == 'b';
    } else if (spec.dtype == DType::kF32) {
      allowed = allowed || (!typed && (kind == 'f' || is_integer));
    }
    if (!allowed) fail_dtype(spec, array.dtype());
    array = array.attr("astype")(wanted).cast<py::array>();
  }
  const int flags = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array.flags() & flags) != flags) array = array.attr("copy")(py::arg("order") = "C").cast<py::array>();
  return array;
}

Tensor pocketuni::tensor_view(const py::array& array, DType dtype) {
  Tensor tensor;
  tensor.type.dtype = dtype;
  tensor.type.shape.assign(array.shape(), array.shape() + array.ndim());
  tensor.data = const_cast<void*>(array.data());
  return tensor;
}

// --- running ---------------------------------------------------------------------------------------------------------

std::vector<Result> pocketuni::copy_results(const std::vector<Tensor>& tensors) {
  std::vector<Result> results;
  for (const Tensor& tensor : tensors) {
    const size_t bytes = static_cast<size_t>(element_count(tensor.type.shape)) * dtype_size(tensor.type.dtype);
    std::unique_ptr<unsigned char[]> copy(new unsigned char[bytes > 0 ? bytes : 1]);
    if (bytes > 0) std::memcpy(copy.get(), tensor.data, bytes);
    results.push_back(Result{tensor.type, std::move(copy)});
  }
  return results;
}

py::array pocketuni::to_numpy(Result result) {
  std::vector<py::ssize_t> shape(result.type.shape.begin(), result.type.shape.end());
  py::capsule owner(result.data.get(), [](void* data) { delete[] static_cast<unsigned char*>(data); });
  void* data = result.data.release();
  return py::array(numpy_dtype(result.type.dtype), shape, data, owner);
}

namespace {

class PySession {
 public:
  PySession(const PyModel& model, const std::string& tower, int threads, const std::string& isa)
      : session_(model.model, tower, SessionOptions{threads, isa.empty() ? nullptr : isa.c_str()}) {}

  py::dict run(const py::dict& arrays) {
    const TowerSpec& spec = session_.spec();
    std::vector<py::array> keep;
    std::vector<Tensor> inputs;
    for (uint32_t index : spec.inputs) {
      const ValueSpec& value = spec.values[index];
      if (!arrays.contains(value.name)) fail_argument(names_text("input '" + value.name + "' is missing", arrays));
      keep.push_back(input_array(arrays[py::str(value.name)], value));
      inputs.push_back(tensor_view(keep.back(), value.dtype));
    }
    if (arrays.size() != inputs.size()) fail_argument(names_text("an input is unknown", arrays));
    std::vector<Result> results;
    locked_([&] { results = copy_results(session_.run(inputs)); });
    py::dict outputs;
    for (size_t i = 0; i < results.size(); ++i) {
      outputs[py::str(spec.values[spec.outputs[i]].name)] = to_numpy(std::move(results[i]));
    }
    return outputs;
  }

  void set_profiling(bool on) {
    locked_([&] { session_.set_profiling(on); });
  }

  py::list profile() {
    const std::vector<OpProfile> entries = locked_([&] { return session_.profile(); });
    py::list list;
    for (const OpProfile& entry : entries) {
      py::dict item;
      item["name"] = entry.name;
      item["op"] = entry.op;
      item["seconds"] = entry.seconds;
      item["runs"] = entry.runs;
      list.append(item);
    }
    return list;
  }

  const TowerSpec& spec() const { return session_.spec(); }
  std::string isa() const { return session_.isa(); }
  int threads() const { return session_.threads(); }

 private:
  std::string names_text(const std::string& fault, const py::dict& given) const {
    std::string text = "tower '" + spec().name + "': " + fault + "; expected";
    for (uint32_t index : spec().inputs) text += " '" + spec().values[index].name + "'";
    text += ", got";
    for (const auto& item : given) text += " '" + py::str(item.first).cast<std::string>() + "'";
    return given.empty() ? text + " nothing" : text;
  }

  Session session_;
  OneAtATime locked_;
};

// --- the module ------------------------------------------------------------------------------------------------------

std::vector<std::string> usable_isas() {
  std::vector<std::string> names;
  for (const Kernels* const* table = usable_kernels(); *table != nullptr; ++table) names.emplace_back((*table)->isa);
  return names;
}

std::string default_isa() {
  const char* wanted = nullptr;
  const Kernels* kernels = default_kernels(&wanted);
  if (kernels != nullptr) return kernels->isa;
  std::string text = "POCKETUNI_ISA=" + std::string(wanted == nullptr ? "" : wanted) + " is not usable here; usable:";
  for (const std::string& name : usable_isas()) text += " " + name;
  fail_argument(text);
}

void raise(const Error& error, PyObject* format_error) {
  PyObject* kind = PyExc_RuntimeError;
  switch (error.status()) {
    case Status::kInvalidArgument:
      kind = PyExc_ValueError;
      break;
    case Status::kIo:
      kind = PyExc_OSError;
      break;
    case Status::kFormat:
      kind = format_error;
      break;
    case Status::kOutOfMemory:
      kind = PyExc_MemoryError;
      break;
    case Status::kOk:
    case Status::kInternal:
      break;
  }
  // A file's names may hold any bytes that are UTF-8, a path any bytes at all.
  py::object message = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(error.what(), static_cast<py::ssize_t>(std::strlen(error.what())), "replace"));
  PyErr_SetObject(kind, message.ptr());
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled part of pocketuni.";
  m.attr("__version__") = POCKETUNI_VERSION;
  watch_the_end();

  static PyObject* format_error = nullptr;
  format_error = PyErr_NewExceptionWithDoc("pocketuni.ModelFileError", "A file is not a valid model file.",
                                           PyExc_ValueError, nullptr);
  if (format_error == nullptr) throw py::error_already_set();
  m.attr("ModelFileError") = py::reinterpret_borrow<py::object>(format_error);
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      raise(error, format_error);
    }
  });

  m.def("usable_cpus", [] { return usable_cpus(); }, "CPUs this process may use: affinity mask and cgroup quota.");
  m.def("usable_isas", &usable_isas, "Names of the instruction sets usable here, slowest first.");
  m.def("default_isa", &default_isa, "The one that is used when none is named.");

  py::class_<PyModel, std::shared_ptr<PyModel>>(m, "Model")
      .def(py::init([](const std::string& path) {
             GilReleased release;
             return std::make_shared<PyModel>(PyModel{open_model(path)});
           }),
           py::arg("path"))
      .def_property_readonly("file_size", [](const PyModel& self) { return self.model->file().file_size(); })
      .def_property_readonly("meta_json", [](const PyModel& self) { return self.model->file().meta_json(); })
      .def("tower_names",
           [](const PyModel& self) {
             std::vector<std::string> names;
             for (const TowerSpec& tower : self.model->file().towers()) names.push_back(tower.name);
             return names;
           })
      .def("blob_names",
           [](const PyModel& self) {
             std::vector<std::string> names;
             for (const Blob& blob : self.model->file().blobs()) names.push_back(blob.name);
             return names;
           })
      .def("inputs", [](const PyModel& self,
                        const std::string& tower) { return value_list(self.tower(tower), self.tower(tower).inputs); })
      .def("outputs", [](const PyModel& self,
                         const std::string& tower) { return value_list(self.tower(tower), self.tower(tower).outputs); })
      .def("nodes", [](const PyModel& self,
                       const std::string& tower) { return node_list(self.model->file(), self.tower(tower)); })
      .def("tensors", &PyModel::tensors)
      .def("blob", &PyModel::blob, py::arg("name"))
      .def("verify_weights", [](const PyModel& self) {
        GilReleased release;
        return self.model->file().verify_weights();
      });

  py::class_<PySession>(m, "Session")
      .def(py::init([](const PyModel& model, const std::string& tower, int threads, const std::string& isa) {
             GilReleased release;
             return std::make_unique<PySession>(model, tower, threads, isa);
           }),
           py::arg("model"), py::arg("tower"), py::arg("threads") = 0, py::arg("isa") = "")
      .def("run", &PySession::run, py::arg("arrays"))
      .def("inputs", [](const PySession& self) { return value_list(self.spec(), self.spec().inputs); })
      .def("outputs", [](const PySession& self) { return value_list(self.spec(), self.spec().outputs); })
      .def_property_readonly("isa", &PySession::isa)
      .def_property_readonly("threads", &PySession::threads)
      .def("set_profiling", &PySession::set_profiling, py::arg("on"))
      .def("profile", &PySession::profile);

  bind_stream(m);
  bind_together(m);
  bind_state(m);
  bind_speech(m);
  bind_pocket(m);
  bind_voice(m);
}
