// pocketuni._core.PocketModel and PocketSpeech: csrc/lm for Python. The GIL is not held while anything is computed.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/python_module.h"
#include "base/error.h"
#include "lm/pocket_stream.h"
#include "lm/unicode.h"
#include "lm/voice_prompt.h"

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

VoiceState parse_state(std::string_view bytes) {
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

  /// The state of a voice, from samples at the model's rate, taken as they are.
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

/// What csrc/lm/pocket_stream.h is, behind the verbs of `_core.Speech`.
class PyPocketStream {
 public:
  PyPocketStream(const PyModel& model, const StreamOptions& options, const VoiceState* voice)
      : stream_(model.model, options, voice) {}

  int64_t rate_hz() const { return stream_.rate_hz(); }
  void push(const std::string& text) {
    locked_([&] { stream_.push(text); });
  }
  void finish() {
    locked_([&] { stream_.finish(); });
  }
  void speak(const std::string& text, int64_t frames_after_eos, size_t max_tokens) {
    locked_([&] { stream_.speak(text, frames_after_eos, max_tokens); });
  }

  /// (samples, no words), or None.
  py::object next() {
    const std::vector<float>* samples = nullptr;
    locked_([&] { samples = stream_.next(); });
    if (samples == nullptr) return py::none();
    return py::make_tuple(py::array_t<float>(static_cast<py::ssize_t>(samples->size()), samples->data()), py::list());
  }

  void cancel() { stream_.cancel(); }
  bool cancelled() const { return stream_.cancelled(); }

 private:
  PocketStream stream_;
  OneAtATime locked_;
};

std::unique_ptr<PocketText> make_text(const std::string& tokenizer, const py::kwargs& rules) {
  TextRules made;
  for (const auto& [key, value] : rules) {
    const std::string name = key.cast<std::string>();
    if (name == "replace") {
      for (const auto& [from, to] : value.cast<py::dict>()) {
        made.replace[from_utf8(from.cast<std::string>()).at(0)] = from_utf8(to.cast<std::string>());
      }
    } else if (name == "frames_after_eos") {
      made.frames_after_eos = value.cast<int64_t>();
    } else if (name == "pad_with_spaces") {
      made.pad_with_spaces = value.cast<bool>();
    } else if (name == "remove_semicolons") {
      made.remove_semicolons = value.cast<bool>();
    } else if (name == "end_with_punctuation") {
      made.end_with_punctuation = value.cast<bool>();
    } else if (name == "capitalize") {
      made.capitalize = value.cast<bool>();
    } else {
      fail_argument("there is no rule '" + name + "'");
    }
  }
  const auto* data = reinterpret_cast<const uint8_t*>(tokenizer.data());
  return std::make_unique<PocketText>(std::move(made),
                                      std::make_shared<const PieceTokenizer>("the tokenizer", data, tokenizer.size()));
}

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

template <typename Options>
Options options_of(const py::dict& given, const std::string& isa) {
  Options options;
  options.temperature = given["temperature"].cast<double>();
  options.noise_clamp = given["noise_clamp"].cast<double>();
  options.eos_threshold = given["eos_threshold"].cast<double>();
  options.steps = given["steps"].cast<int>();
  options.seed = given["seed"].cast<uint64_t>();
  options.threads = given["threads"].cast<int>();
  options.isa = isa.empty() ? nullptr : isa.c_str();
  return options;
}

/// A speech of either kind, with a voice or without.
template <typename Speech, typename Options>
std::unique_ptr<Speech> start(const PyModel& model, std::string_view state, const Options& options) {
  GilReleased release;
  if (state.empty()) return std::make_unique<Speech>(model, options, nullptr);
  const VoiceState voice = parse_state(state);
  return std::make_unique<Speech>(model, options, &voice);
}

std::unique_ptr<PyPocketSpeech> start_speech(const PyModel& model, std::string_view state, const std::string& isa,
                                             const py::kwargs& given) {
  return start<PyPocketSpeech>(model, state, options_of<PocketOptions>(given, isa));
}

std::unique_ptr<PyPocketStream> start_stream(const PyModel& model, std::string_view state, const std::string& isa,
                                             double volume, size_t chunk_frames, const py::kwargs& given) {
  StreamOptions options = options_of<StreamOptions>(given, isa);
  options.volume = volume;
  options.chunk_frames = chunk_frames;
  return start<PyPocketStream>(model, state, options);
}

/// The state of a voice from a recording at any rate.
py::bytes make_state(const PyModel& model, const FloatArray& samples, int64_t rate_hz, int threads,
                     const std::string& isa) {
  const std::vector<float> copy = floats(samples);
  std::string state;
  {
    const GilReleased release;
    const HeapTrimmer trimmer;
    state = make_voice_state(model.model, copy, rate_hz, {threads, isa.empty() ? nullptr : isa.c_str()}).bytes();
  }
  return state;
}

py::array_t<float> as_array(const std::vector<float>& samples) {
  return py::array_t<float>(static_cast<py::ssize_t>(samples.size()), samples.data());
}

}  // namespace

void bind_pocket(py::module_& m) {
  m.def("pocket_settings", &settings_dict, py::arg("model"));
  m.def("check_pocket_voice", &check_state, py::arg("model"), py::arg("state"));
  m.def("is_pocket", [](const PyModel& model) { return is_pocket(model.model->file()); }, py::arg("model"));
  py::class_<PyPocketModel>(m, "PocketModel")
      .def(py::init([](const PyModel& model, int threads, const std::string& isa) {
             GilReleased release;
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
      .def(py::init(&start_speech), py::arg("model"), py::arg("state"), py::arg("isa"))
      .def("push", &PyPocketSpeech::push, py::arg("ids"), py::arg("max_frames"), py::arg("frames_after_eos"),
           py::arg("noise") = FloatArray(0))
      .def("next", &PyPocketSpeech::next, py::arg("most_frames"))
      .def("cancel", &PyPocketSpeech::cancel)
      .def_property_readonly("cancelled", &PyPocketSpeech::cancelled);
  py::class_<PyPocketStream>(m, "PocketStream")
      .def(py::init(&start_stream), py::arg("model"), py::arg("state"), py::arg("isa"), py::arg("volume"),
           py::arg("chunk_frames"))
      .def_property_readonly("rate_hz", &PyPocketStream::rate_hz)
      .def("push", &PyPocketStream::push, py::arg("text"))
      .def("finish", &PyPocketStream::finish)
      .def("speak", &PyPocketStream::speak, py::arg("text"), py::arg("frames_after_eos"), py::arg("max_tokens"))
      .def("next", &PyPocketStream::next)
      .def("cancel", &PyPocketStream::cancel)
      .def_property_readonly("cancelled", &PyPocketStream::cancelled);
  m.def("make_pocket_voice", &make_state, py::arg("model"), py::arg("samples"), py::arg("rate_hz"), py::arg("threads"),
        py::arg("isa"));
  m.def(
      "resample_prompt",
      [](const FloatArray& samples, int64_t from_hz, int64_t to_hz) {
        return as_array(resample_prompt(floats(samples), from_hz, to_hz));
      },
      py::arg("samples"), py::arg("from_hz"), py::arg("to_hz"));
  m.def(
      "end_in_pause",
      [](const FloatArray& samples, int64_t rate_hz) { return as_array(end_in_pause(floats(samples), rate_hz)); },
      py::arg("samples"), py::arg("rate_hz"));
  py::class_<PocketText>(m, "PocketText")
      .def(py::init(&make_text), py::arg("tokenizer"))
      .def("prepare", &PocketText::prepare, py::arg("text"))
      .def("chunks", &PocketText::chunks, py::arg("text"), py::arg("most") = kMaxChunkTokens)
      .def("frames_after_eos", &PocketText::frames_after_eos, py::arg("chunk"))
      .def(
          "encode", [](const PocketText& text, const std::string& utf8) { return text.tokenizer().encode(utf8); },
          py::arg("text"))
      .def(
          "decode",
          [](const PocketText& text, const std::vector<int64_t>& ids) { return text.tokenizer().decode(ids); },
          py::arg("ids"));
  m.attr("MAX_CHUNK_TOKENS") = kMaxChunkTokens;
  m.def("most_pocket_frames", &most_frames, py::arg("tokens"), py::arg("frames_per_second"));
}

}  // namespace pocketuni
