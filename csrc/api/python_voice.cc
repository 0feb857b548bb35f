// pocketuni._core.Voice and VoiceBuilder. The GIL is not held while samples are taken.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/python_module.h"
#include "base/error.h"
#include "speech/voice_builder.h"
#include "speech/voice_file.h"

namespace py = pybind11;

namespace pocketuni {
namespace {

class PyVoiceBuilder {
 public:
  PyVoiceBuilder(std::shared_ptr<const Model> model, int64_t rate_hz, const SessionOptions& options)
      : builder_(std::move(model), rate_hz, options) {}

  void feed(const py::array_t<float, py::array::c_style>& samples) {
    const float* data = samples.data();
    const auto count = static_cast<size_t>(samples.size());
    locked_([&] { builder_.feed(data, count); });
  }
  Voice voice() {
    return locked_([&] { return builder_.voice(); });
  }
  double seconds() {
    return locked_([&] { return builder_.seconds(); });
  }
  double heard_seconds() {
    return locked_([&] { return builder_.heard_seconds(); });
  }
  double confidence() {
    return locked_([&] { return builder_.confidence(); });
  }
  std::pair<double, double> level() {
    const Level level = locked_([&] { return builder_.level(); });
    return {level.rms_db, level.peak_db};
  }
  std::vector<std::string> advice() {
    return locked_([&] { return builder_.advice(); });
  }

 private:
  VoiceBuilder builder_;
  OneAtATime locked_;
};

py::bytes bytes_of(const Voice& voice) {
  const std::vector<unsigned char> bytes = encode_voice(voice);
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Voice voice_of(const py::bytes& bytes, const std::string& where) {
  const std::string copy = bytes;
  return decode_voice(reinterpret_cast<const unsigned char*>(copy.data()), copy.size(), where);
}

Voice mixed(const std::vector<std::pair<double, const Voice*>>& parts) { return mix_voices(parts); }

Voice renamed(const Voice& voice, const std::string& name) {
  Voice other = voice;
  other.name = checked_voice_name(name);
  return other;
}

}  // namespace

void bind_voice(py::module_& m) {
  m.attr("ENOUGH_CONFIDENCE") = kEnoughConfidence;
  py::class_<Voice>(m, "Voice")
      .def_static(
          "load", [](const py::bytes& path) { return load_voice(path); }, py::arg("path"))
      .def_static("decode", &voice_of, py::arg("data"), py::arg("where"))
      .def_static(
          "named", [](const PyModel& model, const std::string& name) { return named_voice(model.model->file(), name); },
          py::arg("model"), py::arg("name"))
      .def_static("mix", &mixed, py::arg("parts"))
      .def(
          "save", [](const Voice& self, const py::bytes& path) { save_voice(self, path); }, py::arg("path"))
      .def("encode", &bytes_of)
      .def("renamed", &renamed, py::arg("name"))
      .def("similarity", &voice_similarity, py::arg("other"))
      .def(
          "require_model", [](const Voice& self, const PyModel& model) { require_space(self, model.model->file()); },
          py::arg("model"))
      .def_property_readonly("vector",
                             [](const Voice& self) {
                               return py::array_t<float>(static_cast<py::ssize_t>(self.vector.size()),
                                                         self.vector.data());
                             })
      .def_property_readonly("space",
                             [](const Voice& self) {
                               return py::bytes(reinterpret_cast<const char*>(self.space.data()), self.space.size());
                             })
      .def_readonly("seconds", &Voice::seconds)
      .def_readonly("confidence", &Voice::confidence)
      .def_readonly("log_f0", &Voice::log_f0)
      .def_readonly("clone", &Voice::clone)
      .def_property_readonly("name", [](const Voice& self) {
        return py::reinterpret_steal<py::str>(
            PyUnicode_DecodeUTF8(self.name.data(), static_cast<py::ssize_t>(self.name.size()), "replace"));
      });
  py::class_<PyVoiceBuilder>(m, "VoiceBuilder")
      .def(py::init([](const PyModel& model, int64_t rate_hz, int threads, const std::string& isa) {
             GilReleased release;
             return std::make_unique<PyVoiceBuilder>(
                 model.model, rate_hz, SessionOptions{threads == 0 ? 1 : threads, isa.empty() ? nullptr : isa.c_str()});
           }),
           py::arg("model"), py::arg("rate_hz"), py::arg("threads") = 0, py::arg("isa") = "")
      .def("feed", &PyVoiceBuilder::feed, py::arg("samples").noconvert())
      .def("voice", &PyVoiceBuilder::voice)
      .def_property_readonly("seconds", &PyVoiceBuilder::seconds)
      .def_property_readonly("heard_seconds", &PyVoiceBuilder::heard_seconds)
      .def_property_readonly("confidence", &PyVoiceBuilder::confidence)
      .def_property_readonly("level", &PyVoiceBuilder::level)
      .def_property_readonly("advice", &PyVoiceBuilder::advice);
}

}  // namespace pocketuni
