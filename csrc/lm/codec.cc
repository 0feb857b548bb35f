#include "lm/codec.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/thread_pool.h"
#include "speech/voice_towers.h"

namespace pocketuni {
namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
constexpr size_t kFramesAtOnce = 2;  // what keeps a step of the codec in the cache

Tensor rows_of(const float* data, size_t rows, size_t width) {
  Tensor tensor;
  tensor.type.shape = {1, static_cast<int64_t>(rows), static_cast<int64_t>(width)};
  tensor.data = const_cast<float*>(data);
  return tensor;
}

SessionOptions alone(SessionOptions options) {
  options.threads = 1;
  return options;
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

/// Rows that one thread makes and another takes, in order.
class CodecEncoder::Handover {
 public:
  void give(std::vector<float> rows) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      waiting_.push_back(std::move(rows));
    }
    changed_.notify_one();
  }
  /// Nothing more comes: take() throws what went wrong.
  void fail(std::exception_ptr fault) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      fault_ = std::move(fault);
    }
    changed_.notify_one();
  }
  std::vector<float> take() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !waiting_.empty() || fault_ != nullptr; });
    if (waiting_.empty()) std::rethrow_exception(fault_);
    std::vector<float> rows = std::move(waiting_.front());
    waiting_.pop_front();
    return rows;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<float>> waiting_;
  std::exception_ptr fault_;
};

CodecEncoder::CodecEncoder(const std::shared_ptr<const Model>& model, const PocketSettings& settings,
                           const SessionOptions& options)
    : frame_samples_(static_cast<size_t>(settings.frame_samples)),
      frame_rows_(static_cast<size_t>(settings.frame_rows)),
      threaded_(options.threads > 1 || (options.threads == 0 && usable_cpus() > 1)),
      rows_(model, "mimi.rows", alone(options)),
      chain_(model, "mimi.encoder", settings.encoder, alone(options)),
      latent_(model, "mimi.latent", options, {"x"}, {"latent"}) {
  check_stream(rows_, "samples", 1, "x", chain_.width());
  check_widths(chain_.last(), 0, latent_, 0);
}

std::vector<float> CodecEncoder::encode(std::vector<float> samples) {
  const size_t frames = (samples.size() + frame_samples_ - 1) / frame_samples_;
  if (frames == 0) fail_argument("the voice prompt holds no samples");
  samples.resize(frames * frame_samples_);
  Handover handover;
  std::thread helper;
  if (threaded_) {
    helper = std::thread([&] { make_rows(samples, &handover); });
  } else {
    make_rows(samples, &handover);
  }
  std::vector<float> encoded;
  std::exception_ptr fault;
  try {
    encoded = encode_rows(frames, &handover);
  } catch (...) {
    fault = std::current_exception();
  }
  if (helper.joinable()) helper.join();
  if (fault != nullptr) std::rethrow_exception(fault);
  latent_.run({encoded.data()}, encoded.size() / chain_.last().output_width(0));
  const Rows latents = latent_.output(0);
  if (latents.count != frames) fail_rate("mimi.latent", latents.count, frames);
  return std::vector<float>(latents.data, latents.data + latents.count * latent_width());
}

void CodecEncoder::make_rows(const std::vector<float>& samples, Handover* handover) {
  try {
    rows_.reset();
    const size_t frames = samples.size() / frame_samples_;
    for (size_t frame = 0; frame < frames; frame += kFramesAtOnce) {
      const size_t count = std::min(kFramesAtOnce, frames - frame);
      rows_.push({rows_of(samples.data() + frame * frame_samples_, count * frame_samples_, 1)});
      const Tensor& x = rows_.pull(kAll)[0];
      const size_t got = static_cast<size_t>(x.type.shape[1]);
      if (got != count * frame_rows_) fail_rate("mimi.rows", got, count * frame_rows_);
      handover->give(std::vector<float>(x.f32(), x.f32() + got * chain_.width()));
    }
  } catch (...) {
    handover->fail(std::current_exception());
  }
}

/// What the last convolution reads: the first row again where nothing stands before it, then all rows.
std::vector<float> CodecEncoder::encode_rows(size_t frames, Handover* handover) {
  chain_.reset();
  const size_t width = chain_.last().output_width(0);
  std::vector<float> encoded;
  for (size_t frame = 0; frame < frames; frame += kFramesAtOnce) {
    const std::vector<float> x = handover->take();
    const Rows y = chain_.run(x.data(), x.size() / chain_.width());
    for (size_t i = 0; frame == 0 && i < frame_rows_ && frame_rows_ > 1; ++i) {
      encoded.insert(encoded.end(), y.data, y.data + width);
    }
    encoded.insert(encoded.end(), y.data, y.data + y.count * width);
  }
  return encoded;
}

}  // namespace pocketuni
