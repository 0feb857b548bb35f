#include "lm/voice_prompt.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "lm/codec.h"

namespace pocketuni {
namespace {

constexpr int64_t kLeastHz = 8000, kMostHz = 192000;
constexpr double kLeastSeconds = 0.5, kMostSeconds = 60;
constexpr double kPauseSeconds = 0.08, kFadeSeconds = 0.02, kFrameSeconds = 0.02;
constexpr double kFloorDb = 35;  // what is softer than the loudest frame by so much is silence
constexpr int64_t kHalfTaps = 10;
constexpr double kKaiserBeta = 5, kPi = 3.14159265358979323846;
const std::string kPrefix = "pocket.voice/";

/// The modified Bessel function of the first kind, of order 0, by its power series.
double bessel_i0(double x) {
  double sum = 1, term = 1;
  for (int k = 1; term > sum * 1e-17; ++k) sum += term *= x * x / (4.0 * k * k);
  return sum;
}

double sinc(double x) { return x == 0 ? 1 : std::sin(kPi * x) / (kPi * x); }

std::string seconds_text(double seconds) {
  const std::string text = std::to_string(seconds);
  return text.substr(0, text.find('.') + 3);
}

void check_rate(int64_t rate_hz) {
  if (rate_hz >= kLeastHz && rate_hz <= kMostHz) return;
  fail_argument("rate_hz is " + std::to_string(rate_hz) + ", expected 8000 to 192000");
}

void check_recording(const std::vector<float>& samples, int64_t rate_hz) {
  check_rate(rate_hz);
  const double seconds = static_cast<double>(samples.size()) / static_cast<double>(rate_hz);
  if (seconds < kLeastSeconds || seconds > kMostSeconds) {
    fail_argument("the recording lasts " + seconds_text(seconds) + " s, expected 0.5 to 60 s of one speaker");
  }
  if (!std::all_of(samples.begin(), samples.end(), [](float x) { return std::isfinite(x); })) {
    fail_argument("the recording holds samples that are not finite");
  }
  if (std::all_of(samples.begin(), samples.end(), [](float x) { return x == 0; })) {
    fail_argument("the recording is silent");
  }
}

}  // namespace

std::vector<float> resample_prompt(const std::vector<float>& samples, int64_t from_hz, int64_t to_hz) {
  const int64_t common = std::gcd(from_hz, to_hz), up = to_hz / common, down = from_hz / common;
  if (up == down) return samples;
  const int64_t widest = std::max(up, down), half = kHalfTaps * widest;
  std::vector<double> taps(static_cast<size_t>(2 * half + 1));
  for (int64_t i = -half; i <= half; ++i) {
    const double place = static_cast<double>(i) / static_cast<double>(half);
    taps[static_cast<size_t>(i + half)] = sinc(static_cast<double>(i) / static_cast<double>(widest)) *
                                          bessel_i0(kKaiserBeta * std::sqrt(std::max(0.0, 1 - place * place)));
  }
  const double gain = static_cast<double>(up) / std::accumulate(taps.begin(), taps.end(), 0.0);
  const auto count = static_cast<int64_t>(samples.size());
  std::vector<float> result(static_cast<size_t>((count * up + down - 1) / down));
  for (size_t n = 0; n < result.size(); ++n) {
    const int64_t place = static_cast<int64_t>(n) * down;  // on the fine grid; input i lies at i * up
    const int64_t first = std::max<int64_t>(0, (place - half + up - 1) / up);
    const int64_t last = std::min(count - 1, (place + half) / up);
    double sum = 0;
    for (int64_t i = first; i <= last; ++i) {
      sum += samples[static_cast<size_t>(i)] * taps[static_cast<size_t>(place - i * up + half)];
    }
    result[n] = static_cast<float>(sum * gain);
  }
  return result;
}

std::vector<float> end_in_pause(std::vector<float> samples, int64_t rate_hz) {
  const double rate = static_cast<double>(rate_hz);
  const size_t size = std::max<size_t>(1, static_cast<size_t>(kFrameSeconds * rate)), frames = samples.size() / size;
  if (frames == 0) return samples;
  std::vector<double> levels(frames);
  for (size_t frame = 0; frame < frames; ++frame) {
    double power = 0;
    for (size_t i = frame * size; i < (frame + 1) * size; ++i) power += static_cast<double>(samples[i]) * samples[i];
    levels[frame] = 20 * std::log10(std::sqrt(power / static_cast<double>(size)) + 1e-12);
  }
  const double floor = *std::max_element(levels.begin(), levels.end()) - kFloorDb;
  size_t last = frames - 1;
  while (!(levels[last] > floor)) --last;
  const size_t end = (last + 1) * size, fade = std::min(static_cast<size_t>(kFadeSeconds * rate), end);
  samples.resize(end);
  for (size_t i = 0; i < fade; ++i) {
    const double left = fade > 1 ? 1 - static_cast<double>(i) / static_cast<double>(fade - 1) : 1;
    samples[end - fade + i] *= static_cast<float>(left);
  }
  samples.resize(end + static_cast<size_t>(kPauseSeconds * rate));
  return samples;
}

void check_prompts(const std::shared_ptr<const Model>& model, int64_t rate_hz) {
  check_rate(rate_hz);
  if (!RowTower::exists(*model, "lm.prompt")) {
    fail_argument(model->file().path() + ": this model cannot clone voices");
  }
}

VoiceState make_voice_state(const std::shared_ptr<const Model>& model, const std::vector<float>& samples,
                            int64_t rate_hz, const SessionOptions& options) {
  check_prompts(model, rate_hz);
  check_recording(samples, rate_hz);
  const PocketSettings settings = read_pocket_settings(model->file());
  FlowLm lm(model, settings, options, options);
  CodecEncoder encoder(model, settings, options);
  const std::vector<float> sound = end_in_pause(resample_prompt(samples, rate_hz, settings.rate_hz), settings.rate_hz);
  const std::vector<float> latents = encoder.encode(sound);
  lm.push_prompt(latents.data(), latents.size() / encoder.latent_width());
  return VoiceState::of(lm, settings.model);
}

std::vector<std::string> stored_state_names(const ModelFile& file) {
  std::vector<std::string> names;
  for (const Blob& blob : file.blobs()) {
    if (blob.name.compare(0, kPrefix.size(), kPrefix) == 0) names.push_back(blob.name.substr(kPrefix.size()));
  }
  return names;
}

VoiceState stored_state(const ModelFile& file, const std::string& name) {
  std::string known;
  for (const std::string& stored : stored_state_names(file)) {
    known += (known.empty() ? "" : ", ") + stored;
    if (!name.empty() && stored != name) continue;
    const Blob* blob = find_blob(file, kPrefix + stored);
    return VoiceState::parse(blob->data, static_cast<size_t>(blob->size));
  }
  fail_argument("the model has no voice '" + name + "'; it has: " + (known.empty() ? "none" : known));
}

}  // namespace pocketuni
