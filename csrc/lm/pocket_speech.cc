#include "lm/pocket_speech.h"

#include <algorithm>
#include <cmath>

#include "base/denormals.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "lm/noise.h"

namespace pocketuni {
namespace {

constexpr int64_t kDeafFrames = 6;    // before speech begins, the logit of the end may be high by chance
constexpr size_t kFramesAhead = 128;  // 10 s: latents wait for the codec, not for whoever listens
constexpr int64_t kMaxFrames = 1 << 16;
constexpr double kFadeSeconds = 0.005;  // a codec that starts anew clicks

void check_range(const char* name, double value, double least, double most) {
  if (value >= least && value <= most) return;  // false for NaN
  fail_argument(std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(least) + " to " +
                std::to_string(most));
}

PocketOptions checked(PocketOptions options) {
  check_range("temperature", options.temperature, 0, 100);
  check_range("noise_clamp", options.noise_clamp, 0, 1e6);
  check_range("eos_threshold", options.eos_threshold, -1e9, 1e9);
  check_range("steps", options.steps, 1, 1000);
  check_range("threads", options.threads, 0, 64);
  if (options.threads == 0) options.threads = std::min(2, usable_cpus());
  return options;
}

/// Two threads share the work by what they do; the products of each stay on their own, but for those of the text,
/// during which the other has nothing to do.
SessionOptions session_options(const PocketOptions& options, int threads) {
  SessionOptions session;
  session.threads = threads;
  session.isa = options.isa;
  return session;
}

}  // namespace

PocketOptions recommended_options(const PocketSettings& settings) {
  PocketOptions options;
  options.temperature = settings.temperature;
  options.eos_threshold = settings.eos_threshold;
  options.steps = settings.flow == FlowKind::kFlowMatching ? 16 : 1;
  return options;
}

PocketSpeech::PocketSpeech(std::shared_ptr<const Model> model, const PocketOptions& options, const VoiceState* voice)
    : settings_(read_pocket_settings(model->file())),
      options_(checked(options)),
      lm_(model, settings_, session_options(options_, 1), session_options(options_, std::min(2, options_.threads))),
      decoder_(model, settings_, session_options(options_, 1)),
      latent_(lm_.latent_width()),
      noise_(lm_.latent_width()),
      next_(lm_.latent_width()) {
  if (decoder_.latent_width() != lm_.latent_width()) {
    fail_argument("towers 'lm.latent' and 'mimi.frame' do not agree on the width of a latent");
  }
  if (voice != nullptr) voice->load_into(&lm_, settings_.model);
  voice_positions_ = lm_.chain().position();
  if (options_.threads > 1) thread_ = std::thread(&PocketSpeech::work, this);
}

PocketSpeech::~PocketSpeech() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  cancel();
  if (thread_.joinable()) thread_.join();
}

void PocketSpeech::push(TextChunk chunk) {
  check_range("max_frames", static_cast<double>(chunk.max_frames), 1, kMaxFrames);
  check_range("frames_after_eos", static_cast<double>(chunk.frames_after_eos), 0, kMaxFrames);
  if (chunk.noise.size() % lm_.latent_width() != 0) {
    fail_argument("noise has " + std::to_string(chunk.noise.size()) + " floats, expected rows of " +
                  std::to_string(lm_.latent_width()));
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    chunks_.push_back(std::move(chunk));
  }
  changed_.notify_all();
}

void PocketSpeech::cancel() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_all();
}

/// Reads the voice and the text of chunk_.
void PocketSpeech::begin_chunk() {
  lm_.rewind(voice_positions_);
  lm_.push_text(chunk_.ids);
  step_ = 0;
  eos_step_ = -1;
  ++sequence_;
}

/// Draws the next latent of chunk_ into next_; false when the chunk has ended.
bool PocketSpeech::draw_frame() {
  if (step_ == chunk_.max_frames) return false;
  const size_t width = latent_.size(), at = static_cast<size_t>(step_) * width;
  if (at < chunk_.noise.size()) {
    std::copy_n(chunk_.noise.data() + at, width, noise_.data());
  } else {
    normal_noise(options_.seed, sequence_, static_cast<uint64_t>(step_), std::sqrt(options_.temperature),
                 options_.noise_clamp, width, noise_.data());
  }
  const float eos = lm_.step(step_ == 0 ? nullptr : latent_.data(), noise_.data(), options_.steps, next_.data());
  if (eos > options_.eos_threshold && eos_step_ < 0 && step_ >= kDeafFrames) eos_step_ = step_;
  if (eos_step_ >= 0 && step_ >= eos_step_ + chunk_.frames_after_eos) return false;
  latent_ = next_;
  ++step_;
  return true;
}

/// Draws a frame of the chunk at hand, or of the next one, with the lock given back meanwhile.
void PocketSpeech::draw(std::unique_lock<std::mutex>& lock) {
  const bool begins = !speaking_;
  if (begins) {
    chunk_ = std::move(chunks_.front());
    chunks_.pop_front();
  }
  busy_ = true;
  lock.unlock();
  std::exception_ptr fault;
  bool drawn = false;
  try {
    if (begins) begin_chunk();
    drawn = draw_frame();
  } catch (...) {
    fault = std::current_exception();
  }
  lock.lock();
  busy_ = false;
  speaking_ = drawn;
  fault_ = fault;
  if (drawn) frames_.push_back({latent_, begins});
}

/// The thread that draws: chunk after chunk, as far ahead as frames may wait.
void PocketSpeech::work() {
  const FlushDenormals flush;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] {
      const bool wanted = to_draw() && frames_.size() < kFramesAhead && fault_ == nullptr && !cancelled_;
      return stop_ || wanted;
    });
    if (stop_) return;
    draw(lock);
    changed_.notify_all();
  }
}

/// Moves up to `most` frames of one chunk into `frames`; none when nothing is left to come.
void PocketSpeech::wait_for_frames(size_t most, std::vector<Frame>* frames) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (thread_.joinable()) {
    changed_.wait(lock, [&] { return !frames_.empty() || cancelled_ || fault_ != nullptr || (!busy_ && !to_draw()); });
  } else {
    while (frames_.empty() && to_draw() && fault_ == nullptr && !cancelled_) draw(lock);
  }
  if (frames_.empty() && fault_ != nullptr) {
    chunks_.clear();
    const std::exception_ptr fault = fault_;
    fault_ = nullptr;
    std::rethrow_exception(fault);
  }
  while (!cancelled_ && frames->size() < most && !frames_.empty() && (frames->empty() || !frames_.front().first)) {
    frames->push_back(std::move(frames_.front()));
    frames_.pop_front();
  }
  changed_.notify_all();
}

void PocketSpeech::fade_in(std::vector<float>* samples) const {
  const auto count = static_cast<size_t>(static_cast<double>(settings_.rate_hz) * kFadeSeconds);
  for (size_t i = 0; i < std::min(count, samples->size()); ++i) {
    (*samples)[i] *= static_cast<float>(i) / static_cast<float>(count - 1);
  }
}

void PocketSpeech::next(size_t most_frames, std::vector<float>* samples) {
  samples->clear();
  std::vector<Frame> frames;
  wait_for_frames(std::max<size_t>(1, most_frames), &frames);
  if (frames.empty()) return;
  if (frames[0].first) decoder_.reset();
  std::vector<float> latents;
  for (const Frame& frame : frames) latents.insert(latents.end(), frame.latent.begin(), frame.latent.end());
  decoder_.decode(latents.data(), frames.size(), samples);
  if (frames[0].first) fade_in(samples);
}

}  // namespace pocketuni
