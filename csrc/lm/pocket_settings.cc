#include "lm/pocket_settings.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>

#include "base/error.h"

namespace pocketuni {
namespace {

const char* const kFlowNames[] = {"lsd", "flow_matching", "drifting", "pointwise"};

class Lines {
 public:
  explicit Lines(const ModelFile& file) : where_(file.path() + ": blob 'pocket': ") {
    const Blob* blob = find_blob(file, "pocket");
    if (blob == nullptr) fail_argument(file.path() + " holds no Pocket TTS model");
    std::string_view rest(reinterpret_cast<const char*>(blob->data), blob->size);
    while (!rest.empty()) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      const size_t space = line.find(' ');
      if (space == std::string_view::npos) fail("a line has no value: '" + std::string(line) + "'");
      values_[std::string(line.substr(0, space))] = std::string(line.substr(space + 1));
    }
  }

  const std::string& text(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) fail("'" + name + "' is missing");
    return found->second;
  }

  double real(const std::string& name, double least, double most) const {
    const std::string& value = text(name);
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0' || !(number >= least && number <= most)) {
      fail("'" + name + "' is '" + value + "', expected a number from " + std::to_string(least) + " to " +
           std::to_string(most));
    }
    return number;
  }

  int64_t whole(const std::string& name, int64_t least, int64_t most) const {
    const double number = real(name, static_cast<double>(least), static_cast<double>(most));
    if (number != std::floor(number)) fail("'" + name + "' is '" + text(name) + "', expected a whole number");
    return static_cast<int64_t>(number);
  }

  [[noreturn]] void fail(const std::string& fault) const { fail_format(where_ + fault); }

 private:
  std::string where_;
  std::map<std::string, std::string> values_;
};

int digit(char c) {
  const char* const digits = "0123456789abcdef";
  const char* found = c == '\0' ? nullptr : std::strchr(digits, c);
  return found == nullptr ? -1 : static_cast<int>(found - digits);
}

ModelIdentity identity(const Lines& lines) {
  const std::string& text = lines.text("model");
  ModelIdentity model{};
  for (size_t i = 0; i < model.size(); ++i) {
    const int high = text.size() == 32 ? digit(text[2 * i]) : -1, low = high < 0 ? -1 : digit(text[2 * i + 1]);
    if (low < 0) lines.fail("'model' is '" + text + "', expected 32 hexadecimal digits");
    model[i] = static_cast<uint8_t>(16 * high + low);
  }
  return model;
}

/// "2019=27 201c= 3b=2c+20": code points, each with those that stand for it.
std::map<char32_t, std::u32string> replacements(const Lines& lines) {
  const std::string& text = lines.text("text.replace");
  std::map<char32_t, std::u32string> result;
  if (text == "none") return result;
  const char* at = text.c_str();
  const auto code = [&] {
    char* end = nullptr;
    const unsigned long value = std::strtoul(at, &end, 16);
    if (end == at || digit(*at) < 0 || value > 0x10ffff) lines.fail("'text.replace' is '" + text + "'");
    at = end;
    return static_cast<char32_t>(value);
  };
  for (;;) {
    std::u32string& to = result[code()];
    if (*at++ != '=') lines.fail("'text.replace' is '" + text + "'");
    if (digit(*at) >= 0) to += code();
    for (; *at == '+'; to += code()) ++at;
    if (*at == '\0') return result;
    if (*at++ != ' ') lines.fail("'text.replace' is '" + text + "'");
  }
}

ChainSettings chain(const Lines& lines, const std::string& prefix) {
  ChainSettings settings;
  settings.heads = static_cast<int>(lines.whole(prefix + ".heads", 1, 4096));
  settings.kv_heads = static_cast<int>(lines.whole(prefix + ".kv_heads", 1, 4096));
  settings.context = lines.whole(prefix + ".context", 0, 1 << 20);
  settings.period = lines.real(prefix + ".period", 1, 1e12);
  return settings;
}

}  // namespace

const Blob* find_blob(const ModelFile& file, const std::string& name) {
  for (const Blob& blob : file.blobs()) {
    if (blob.name == name) return &blob;
  }
  return nullptr;
}

bool is_pocket(const ModelFile& file) { return find_blob(file, "pocket") != nullptr; }

std::shared_ptr<const Model> open_model(const std::string& path) {
  std::shared_ptr<const Model> model = Model::open(path);
  // Each latent takes all weights of the language model, for one row.
  if (is_pocket(model->file())) model->file().read_weights("lm.");
  return model;
}

PocketSettings read_pocket_settings(const ModelFile& file) {
  const Lines lines(file);
  lines.whole("version", 1, 1);
  PocketSettings settings;
  settings.model = identity(lines);
  int kind = 0;
  while (kind < 4 && lines.text("flow") != kFlowNames[kind]) ++kind;
  if (kind == 4) lines.fail("'flow' is '" + lines.text("flow") + "', which this version does not know");
  settings.flow = static_cast<FlowKind>(kind);
  settings.rate_hz = lines.whole("rate_hz", 1000, 1000000);
  settings.frame_samples = lines.whole("frame_samples", 1, 1 << 20);
  settings.frame_rows = lines.whole("frame_rows", 1, 4096);
  settings.temperature = lines.real("temperature", 0, 100);
  settings.eos_threshold = lines.real("eos_threshold", -1e9, 1e9);
  settings.lm = chain(lines, "lm");
  settings.decoder = chain(lines, "mimi.decoder");
  settings.encoder = chain(lines, "mimi.encoder");
  if (settings.lm.context != 0) lines.fail("'lm.context' is not 0");
  if (settings.frame_samples % settings.frame_rows != 0) lines.fail("'frame_samples' is no multiple of 'frame_rows'");
  return settings;
}

TextRules read_text_rules(const ModelFile& file) {
  const Lines lines(file);
  TextRules rules;
  rules.pad_with_spaces = lines.whole("text.pad_with_spaces", 0, 1) == 1;
  rules.remove_semicolons = lines.whole("text.remove_semicolons", 0, 1) == 1;
  rules.end_with_punctuation = lines.whole("text.end_with_punctuation", 0, 1) == 1;
  rules.capitalize = lines.whole("text.capitalize", 0, 1) == 1;
  rules.frames_after_eos = lines.whole("text.frames_after_eos", -1, 1 << 16);
  rules.replace = replacements(lines);
  return rules;
}

std::vector<float> read_floats(const ModelFile& file, const std::string& name, size_t count, bool optional) {
  const Blob* blob = find_blob(file, name);
  if (blob == nullptr && optional) return {};
  const std::string where = file.path() + ": blob '" + name + "' ";
  if (blob == nullptr) fail_format(where + "is missing");
  if (blob->size != count * sizeof(float)) {
    fail_format(where + "has " + std::to_string(blob->size) + " bytes, expected " + std::to_string(count) + " floats");
  }
  std::vector<float> values(count);
  std::memcpy(values.data(), blob->data, blob->size);
  for (float value : values) {
    if (!std::isfinite(value)) fail_format(where + "holds a number that is not finite");
  }
  return values;
}

}  // namespace pocketuni
