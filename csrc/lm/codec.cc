#include "lm/codec.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "speech/voice_towers.h"

namespace pocketuni {
namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
constexpr size_t kFramesAtOnce = 4;  // what keeps a step of the codec in the cache

Tensor rows_of(const float* data, size_t rows, size_t width) {
  Tensor tensor;
  tensor.type.shape = {1, static_cast<int64_t>(rows), static_cast<int64_t>(width)};
  tensor.data = const_cast<float*>(data);
  return tensor;
}

/// Checks the one input and the one output of a stream of rows.
void check_stream(const StreamSession& stream, const char* input, size_t in, const char* output, size_t out) {
  const TowerSpec& spec = stream.spec();
  find_ports(spec, spec.inputs, "input", {{input, DType::kF32, {1, -1, static_cast<int64_t>(in)}}}, true);
  find_ports(spec, spec.outputs, "output", {{output, DType::kF32, {1, -1, static_cast<int64_t>(out)}}}, true);
}

[[noreturn]] void fail_rate(const std::string& tower, size_t got, size_t expected) {
  throw Error(Status::kFormat, "tower '" + tower + "' gives " + std::to_string(got) + " rows where " +
                                   std::to_string(expected) + " are expected; the model is bad");
}

}  // namespace

CodecDecoder::CodecDecoder(const std::shared_ptr<const Model>& model, const PocketSettings& settings,
                           const SessionOptions& options)
    : frame_samples_(static_cast<size_t>(settings.frame_samples)),
      frame_(model, "mimi.frame", options, {"latent"}, {"frame"}),
      upsample_(model, "mimi.upsample", options, {"now", "before"}, {"x"}),
      chain_(model, "mimi.decoder", settings.decoder, options),
      samples_(model, "mimi.samples", options) {
  check_widths(frame_, 0, upsample_, 0);
  check_widths(frame_, 0, upsample_, 1);
  if (upsample_.output_width(0) != chain_.width()) {
    fail_argument("tower 'mimi.upsample' gives rows of " + std::to_string(upsample_.output_width(0)) +
                  " floats, tower 'mimi.decoder.0' takes " + std::to_string(chain_.width()));
  }
  check_stream(samples_, "x", chain_.last().output_width(0), "samples", 1);
  reset();
}

void CodecDecoder::reset() {
  chain_.reset();
  samples_.reset();
  frames_.assign(frame_.output_width(0), 0.0f);
}

void CodecDecoder::decode(const float* latents, size_t frames, std::vector<float>* samples) {
  const size_t width = frame_.output_width(0);
  for (size_t frame = 0; frame < frames; frame += kFramesAtOnce) {
    const size_t count = std::min(kFramesAtOnce, frames - frame);
    frame_.run({latents + frame * latent_width()}, count);
    const Rows rows = frame_.output(0);
    frames_.insert(frames_.end(), rows.data, rows.data + count * width);
    upsample_.run({frames_.data() + width, frames_.data()}, count);
    frames_.erase(frames_.begin(), frames_.begin() + static_cast<ptrdiff_t>(count * width));
    const Rows x = upsample_.output(0), y = chain_.run(x.data, x.count);
    samples_.push({rows_of(y.data, y.count, chain_.last().output_width(0))});
    const Tensor& made = samples_.pull(kAll)[0];
    const size_t got = static_cast<size_t>(made.type.shape[1]);
    if (got != count * frame_samples_) fail_rate("mimi.samples", got, count * frame_samples_);
    samples->insert(samples->end(), made.f32(), made.f32() + got);
  }
}

CodecEncoder::CodecEncoder(const std::shared_ptr<const Model>& model, const PocketSettings& settings,
                           const SessionOptions& options)
    : frame_samples_(static_cast<size_t>(settings.frame_samples)),
      frame_rows_(static_cast<size_t>(settings.frame_rows)),
      rows_(model, "mimi.rows", options),
      chain_(model, "mimi.encoder", settings.encoder, options),
      latent_(model, "mimi.latent", options, {"x"}, {"latent"}) {
  check_stream(rows_, "samples", 1, "x", chain_.width());
  check_widths(chain_.last(), 0, latent_, 0);
}

std::vector<float> CodecEncoder::encode(std::vector<float> samples) {
  const size_t frames = (samples.size() + frame_samples_ - 1) / frame_samples_;
  if (frames == 0) fail_argument("the voice prompt holds no samples");
  samples.resize(frames * frame_samples_);
  chain_.reset();
  rows_.reset();
  const size_t width = chain_.last().output_width(0);
  std::vector<float> encoded;
  for (size_t frame = 0; frame < frames; frame += kFramesAtOnce) {
    const size_t count = std::min(kFramesAtOnce, frames - frame);
    rows_.push({rows_of(samples.data() + frame * frame_samples_, count * frame_samples_, 1)});
    const Tensor& x = rows_.pull(kAll)[0];
    const size_t got = static_cast<size_t>(x.type.shape[1]);
    if (got != count * frame_rows_) fail_rate("mimi.rows", got, count * frame_rows_);
    const Rows y = chain_.run(x.f32(), got);
    // The last convolution sees the first row again where nothing stands before it.
    for (size_t i = 0; frame == 0 && i < frame_rows_ && frame_rows_ > 1; ++i) {
      encoded.insert(encoded.end(), y.data, y.data + width);
    }
    encoded.insert(encoded.end(), y.data, y.data + y.count * width);
  }
  latent_.run({encoded.data()}, encoded.size() / width);
  const Rows latents = latent_.output(0);
  if (latents.count != frames) fail_rate("mimi.latent", latents.count, frames);
  return std::vector<float>(latents.data, latents.data + latents.count * latent_width());
}

}  // namespace pocketuni
