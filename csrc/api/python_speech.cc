// pocketuni._core.Speech: SpeechStream for Python. The GIL is not held while speech is computed.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "api/python_module.h"
#include "speech/audio_frames.h"
#include "speech/speech_stream.h"
#include "speech/voices.h"

namespace py = pybind11;

namespace pocketuni {
namespace {

class PySpeech {
 public:
  PySpeech(std::shared_ptr<const Model> model, const SpeechOptions& options) : stream_(std::move(model), options) {}

  void push(const py::bytes& text) {
    const std::string copy = text;
    locked_([&] { stream_.push(copy); });
  }

  void finish() {
    locked_([&] { stream_.finish(); });
  }

  /// (samples, words) or None.
  py::object next() {
    std::vector<float> samples;
    std::vector<SpokenWord> words;
    locked_([&] {
      const SpeechChunk* chunk = stream_.next();
      if (chunk != nullptr) samples = chunk->samples, words = chunk->words;
    });
    if (samples.empty()) return py::none();
    py::list list;
    for (const SpokenWord& word : words) {
      list.append(py::make_tuple(word.text, static_cast<double>(word.start) / kRateHz,
                                 static_cast<double>(word.stop) / kRateHz, word.begin, word.end));
    }
    return py::make_tuple(py::array_t<float>(static_cast<py::ssize_t>(samples.size()), samples.data()), list);
  }

  void cancel() { stream_.cancel(); }
  bool cancelled() const { return stream_.cancelled(); }

 private:
  SpeechStream stream_;
  OneAtATime locked_;
};

std::unique_ptr<PySpeech> start(const PyModel& model, const std::string& voice, const std::vector<float>& vector,
                                double log_f0, double speed, double pitch, double volume, uint32_t seed, int threads,
                                const std::string& isa, size_t chunk_frames) {
  GilReleased release;
  SpeechOptions options;
  options.voice = voice;
  options.vector = vector;
  options.log_f0 = log_f0;
  options.speed = speed;
  options.semitones = pitch;
  options.volume = volume;
  options.seed = seed;
  options.threads = threads;
  options.isa = isa.empty() ? nullptr : isa.c_str();
  options.chunk_frames = chunk_frames;
  return std::make_unique<PySpeech>(model.model, options);
}

}  // namespace

void bind_speech(py::module_& m) {
  m.attr("RATE_HZ") = kRateHz;
  m.attr("MAX_CHUNK_FRAMES") = kMaxChunkFrames;
  m.def("voice_names", [](const PyModel& model) { return voice_names(model.model->file()); }, py::arg("model"));
  py::class_<PySpeech>(m, "Speech")
      .def(py::init(&start), py::arg("model"), py::arg("voice") = "", py::arg("vector") = std::vector<float>(),
           py::arg("log_f0") = 0.0, py::arg("speed") = 1.0, py::arg("pitch") = 0.0, py::arg("volume") = 1.0,
           py::arg("seed") = 0, py::arg("threads") = 0, py::arg("isa") = "", py::arg("chunk_frames") = 0)
      .def("push", &PySpeech::push, py::arg("text"))
      .def("finish", &PySpeech::finish)
      .def("next", &PySpeech::next)
      .def("cancel", &PySpeech::cancel)
      .def_property_readonly("cancelled", &PySpeech::cancelled);
}

}  // namespace pocketuni
