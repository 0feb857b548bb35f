// pocketuni._core.PocketModel and PocketSpeech: csrc/lm for Python. The GIL is not held while anything is computed.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <memory>
#include <string>
#include <vector>

#include "api/python_module.h"
#include "base/error.h"
#include "lm/pocket_speech.h"

namespace py = pybind11;

namespace pocketuni {
namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

std::vector<float> floats(const FloatArray& array) {
  return std::vector<float>(array.data(), array.data() + array.size());
}

py::array_t<float> rows_array(const std::vector<float>& data, size_t width) {
  const auto rows = static_cast<py::ssize_t>(data.size() / width);
  return py::array_t<float>({rows, static_cast<py::ssize_t>(width)}, data.data());
}

VoiceState parse_state(const std::string& bytes) {
  return VoiceState::parse(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

/// As the first member it is destroyed last. glibc keeps in its heaps what was freed, and making a voice takes 25 MB
/// that nothing needs afterwards.
struct HeapTrimmer {
  ~HeapTrimmer() {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
  }
};

/// The parts of a model one by one: for voices, and to compare them with other implementations.
class PyPocketModel {
 public:
  PyPocketModel(const PyModel& model, int threads, const std::string& isa)
      : model_(model.model),
        isa_(isa),
        options_{threads, isa_.empty() ? nullptr : isa_.c_str()},
        settings_(read_pocket_settings(model_->file())),
        lm_(model_, settings_, options_, options_) {}

  size_t latent_width() const { return lm_.latent_width(); }

  /// The state of a voice, from samples at the model's rate.
  py::bytes make_voice(const FloatArray& samples) {
    std::vector<float> copy = floats(samples);
    std::string state;
    locked_([&] {
      const std::vector<float> latents = encoder().encode(std::move(copy));
      lm_.rewind(0);
      lm_.push_prompt(latents.data(), latents.size() / encoder().latent_width());
      state = VoiceState::of(lm_, settings_.model).bytes();
    });
    return state;
  }

  py::array encode(const FloatArray& samples) {
    std::vector<float> copy = floats(samples), latents;
    locked_([&] { latents = encoder().encode(std::move(copy)); });
    return rows_array(latents, encoder().latent_width());
  }

  py::array decode(const FloatArray& latents, bool restart) {
    const std::vector<float> copy = floats(latents);
    std::vector<float> samples;
    locked_([&] {
      if (decoder_ == nullptr) decoder_ = std::make_unique<CodecDecoder>(model_, settings_, options_);
      if (copy.size() % decoder_->latent_width() != 0) fail_argument("latents: expected rows of the latent's width");
      if (restart) decoder_->reset();
      decoder_->decode(copy.data(), copy.size() / decoder_->latent_width(), &samples);
    });
    return py::array_t<float>(static_cast<py::ssize_t>(samples.size()), samples.data());
  }

  void begin(const py::bytes& state) {
    const std::string bytes = state;
    locked_([&] {
      if (bytes.empty()) return lm_.rewind(0);
      parse_state(bytes).load_into(&lm_, settings_.model);
    });
  }

  void push_text(const std::vector<int64_t>& ids) {
    locked_([&] { lm_.push_text(ids); });
  }

  py::tuple step(const FloatArray& latent, const FloatArray& noise, int steps) {
    const std::vector<float> before = floats(latent), drawn = floats(noise);
    std::vector<float> next(lm_.latent_width());
    float eos = 0;
    if ((!before.empty() && before.size() != next.size()) || drawn.size() != next.size() || steps < 1) {
      fail_argument("latent and noise: expected " + std::to_string(next.size()) + " floats each, and 1 step or more");
    }
    locked_([&] { eos = lm_.step(before.empty() ? nullptr : before.data(), drawn.data(), steps, next.data()); });
    return py::make_tuple(py::array_t<float>(static_cast<py::ssize_t>(next.size()), next.data()), eos);
  }

 private:
  CodecEncoder& encoder() {
    if (encoder_ == nullptr) {
      if (!lm_.takes_prompts()) fail_argument(model_->file().path() + ": this model cannot clone voices");
      encoder_ = std::make_unique<CodecEncoder>(model_, settings_, options_);
    }
    return *encoder_;
  }

  HeapTrimmer trimmer_;
  std::shared_ptr<const Model> model_;
  std::string isa_;
  SessionOptions options_;
  PocketSettings settings_;
  FlowLm lm_;
  std::unique_ptr<CodecDecoder> decoder_;
  std::unique_ptr<CodecEncoder> encoder_;
  OneAtATime locked_;
};

class PyPocketSpeech {
 public:
  PyPocketSpeech(const PyModel& model, const PocketOptions& options, const VoiceState* voice)
      : speech_(model.model, options, voice) {}

  void push(const std::vector<int64_t>& ids, int64_t max_frames, int64_t frames_after_eos, const FloatArray& noise) {
    TextChunk chunk{ids, max_frames, frames_after_eos, floats(noise)};
    locked_([&] { speech_.push(std::move(chunk)); });
  }

  /// Samples, or None.
  py::object next(size_t most_frames) {
    std::vector<float> samples;
    locked_([&] { speech_.next(most_frames, &samples); });
    if (samples.empty()) return py::none();
    return py::array_t<float>(static_cast<py::ssize_t>(samples.size()), samples.data());
  }

  void cancel() { speech_.cancel(); }
  bool cancelled() const { return speech_.cancelled(); }

 private:
  PocketSpeech speech_;
  OneAtATime locked_;
};

py::dict settings_dict(const PyModel& model) {
  const PocketSettings settings = read_pocket_settings(model.model->file());
  const PocketOptions options = recommended_options(settings);
  py::dict dict;
  dict["model"] = py::bytes(reinterpret_cast<const char*>(settings.model.data()), settings.model.size());
  dict["rate_hz"] = settings.rate_hz;
  dict["frame_samples"] = settings.frame_samples;
  dict["temperature"] = options.temperature;
  dict["eos_threshold"] = options.eos_threshold;
  dict["steps"] = options.steps;
  dict["can_clone"] = RowTower::exists(*model.model, "lm.prompt");
  return dict;
}

/// Throws Error(kInvalidArgument) for a state that is damaged or of another model.
void check_state(const PyModel& model, const py::bytes& state) {
  if (parse_state(state).model != read_pocket_settings(model.model->file()).model) fail_other_model();
}

std::unique_ptr<PyPocketSpeech> start(const PyModel& model, const py::bytes& state, double temperature,
                                      double noise_clamp, double eos_threshold, int steps, uint64_t seed, int threads,
                                      const std::string& isa) {
  const std::string bytes = state;
  py::gil_scoped_release release;
  PocketOptions options;
  options.temperature = temperature;
  options.noise_clamp = noise_clamp;
  options.eos_threshold = eos_threshold;
  options.steps = steps;
  options.seed = seed;
  options.threads = threads;
  options.isa = isa.empty() ? nullptr : isa.c_str();
  if (bytes.empty()) return std::make_unique<PyPocketSpeech>(model, options, nullptr);
  const VoiceState voice = parse_state(bytes);
  return std::make_unique<PyPocketSpeech>(model, options, &voice);
}

}  // namespace

void bind_pocket(py::module_& m) {
  m.def("pocket_settings", &settings_dict, py::arg("model"));
  m.def("check_pocket_voice", &check_state, py::arg("model"), py::arg("state"));
  m.def("is_pocket", [](const PyModel& model) { return is_pocket(model.model->file()); }, py::arg("model"));
  py::class_<PyPocketModel>(m, "PocketModel")
      .def(py::init([](const PyModel& model, int threads, const std::string& isa) {
             py::gil_scoped_release release;
             return std::make_unique<PyPocketModel>(model, threads, isa);
           }),
           py::arg("model"), py::arg("threads") = 0, py::arg("isa") = "")
      .def_property_readonly("latent_width", &PyPocketModel::latent_width)
      .def("make_voice", &PyPocketModel::make_voice, py::arg("samples"))
      .def("encode", &PyPocketModel::encode, py::arg("samples"))
      .def("decode", &PyPocketModel::decode, py::arg("latents"), py::arg("restart") = true)
      .def("begin", &PyPocketModel::begin, py::arg("state"))
      .def("push_text", &PyPocketModel::push_text, py::arg("ids"))
      .def("step", &PyPocketModel::step, py::arg("latent"), py::arg("noise"), py::arg("steps"));
  py::class_<PyPocketSpeech>(m, "PocketSpeech")
      .def(py::init(&start), py::arg("model"), py::arg("state"), py::arg("temperature"), py::arg("noise_clamp"),
           py::arg("eos_threshold"), py::arg("steps"), py::arg("seed"), py::arg("threads"), py::arg("isa"))
      .def("push", &PyPocketSpeech::push, py::arg("ids"), py::arg("max_frames"), py::arg("frames_after_eos"),
           py::arg("noise") = FloatArray(0))
      .def("next", &PyPocketSpeech::next, py::arg("most_frames"))
      .def("cancel", &PyPocketSpeech::cancel)
      .def_property_readonly("cancelled", &PyPocketSpeech::cancelled);
}

}  // namespace pocketuni
