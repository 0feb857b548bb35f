#include "speech/voice_chain.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "speech/voice_towers.h"
#include "speech/voices.h"

namespace pocketuni {
namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();
constexpr size_t kFrameReach = 2;  // frames that the excitation, and the inverse transform, look ahead

size_t rows_of(const Tensor& tensor) { return static_cast<size_t>(tensor.type.shape[1]); }

}  // namespace

VoiceChain::VoiceChain(std::shared_ptr<const Model> model, const SessionOptions& options, size_t width)
    : decoder_(model, "voice.decoder", options),
      pitch_(model, "voice.pitch", options),
      vocoder_(model, "voice.vocoder", options),
      width_(width) {
  const auto frames = [](const char* name, size_t columns) {
    return Port{name, DType::kF32, {1, -1, static_cast<int64_t>(columns)}};
  };
  const Port speaker{"speaker", DType::kF32, {1, static_cast<int64_t>(kSpeakerWidth)}},
      log_f0{"log_f0", DType::kF32, {1, -1}};
  const TowerSpec& decoder = decoder_.spec();
  const std::vector<Port> inputs = {frames("hidden", width), frames("place", 3), frames("prosody", 3), speaker};
  decoder_order_ = find_ports(decoder, decoder.inputs, "input", inputs, true);
  // The speaker is given once; the others are pushed in the order in which they stand without it.
  for (size_t i = 0; i < 3; ++i) decoder_order_[i] -= decoder_order_[i] > decoder_order_[3] ? 1 : 0;
  decoder_order_.pop_back();
  find_ports(decoder, decoder.outputs, "output", {frames("mel", kMels)}, true);
  const TowerSpec& pitch = pitch_.spec();
  find_ports(pitch, pitch.inputs, "input", {frames("mel", kMels)}, true);
  find_ports(pitch, pitch.outputs, "output", {log_f0}, true);
  const TowerSpec& vocoder = vocoder_.spec();
  vocoder_order_ =
      find_ports(vocoder, vocoder.inputs, "input", {frames("mel", kMels), frames("source", kSourceWidth)}, true);
  find_ports(vocoder, vocoder.outputs, "output", {frames("spectrum", kSpectrumWidth)}, true);
  lookahead_ = static_cast<size_t>(decoder_.lookahead() + pitch_.lookahead() + vocoder_.lookahead()) + 2 * kFrameReach;
}

void VoiceChain::start(const FramePlan& plan, const std::vector<float>& speaker, uint32_t seed, double log_shift) {
  plan_ = &plan;
  log_shift_ = static_cast<float>(log_shift);
  pushed_ = pulled_ = mel_rows_ = f0_rows_ = spectrum_rows_ = 0;
  for (StreamSession* tower : {&decoder_, &pitch_, &vocoder_}) tower->reset();
  decoder_.set_fixed("speaker", rows_view(speaker, speaker.size(), 0));
  source_.start(plan.frames(), seed);
  inverse_.start(plan.frames());
  mel_.clear();
}

size_t VoiceChain::pull(size_t most, std::vector<float>* samples) {
  const size_t frames = plan_->frames(), wanted = std::min(most, frames - pulled_);
  while (inverse_.ready() < wanted) {
    // More than once only if a tower's lookahead is not reached exactly.
    const size_t needed = std::min(frames, pulled_ + wanted + lookahead_);
    push_frames(std::max<size_t>(needed - std::min(needed, pushed_), pushed_ < frames ? 1 : 0));
  }
  samples->resize(samples->size() + wanted * kHopSamples);
  inverse_.pull(samples->data() + samples->size() - wanted * kHopSamples, wanted);
  pulled_ += wanted;
  return wanted;
}

/// A tower that changes the number of frames would shift what follows against the words.
void VoiceChain::check_rows(const StreamSession& tower, size_t rows) const {
  if (rows <= pushed_) return;
  throw Error(Status::kFormat, "tower '" + tower.spec().name + "' gives more frames than it gets; the model is bad");
}

std::vector<float> VoiceChain::read_log_f0(const FramePlan& plan, const std::vector<float>& speaker) {
  start(plan, speaker, 0, 0);
  push_plan(plan.frames());
  pitch_.push({decoder_.pull(kAll)[0]});
  pitch_.finish();
  const Tensor& log_f0 = pitch_.pull(kAll)[0];
  return {log_f0.f32(), log_f0.f32() + rows_of(log_f0)};
}

/// Sends the next frames of the plan down the chain, as far as they come.
void VoiceChain::push_frames(size_t count) {
  if (count == 0) throw Error(Status::kFormat, "the voice's towers give fewer frames than they get; the model is bad");
  push_plan(count);
  pass_mel();
  pass_source();
  pass_spectrum();
}

/// Gives the next frames of the plan to the decoder.
void VoiceChain::push_plan(size_t count) {
  hidden_.resize(count * width_);
  place_.resize(count * 3);
  prosody_.resize(count * 3);
  plan_->fill(pushed_, count, hidden_.data(), place_.data(), prosody_.data());
  std::vector<Tensor> inputs(3);
  inputs[decoder_order_[0]] = rows_view(hidden_, count, width_);
  inputs[decoder_order_[1]] = rows_view(place_, count, 3);
  inputs[decoder_order_[2]] = rows_view(prosody_, count, 3);
  decoder_.push(inputs);
  pushed_ += count;
  if (pushed_ == plan_->frames()) decoder_.finish();
}

void VoiceChain::pass_mel() {
  if (decoder_.rows_ready() == 0) return;
  const Tensor& mel = decoder_.pull(kAll)[0];
  check_rows(decoder_, mel_rows_ += rows_of(mel));
  mel_.insert(mel_.end(), mel.f32(), mel.f32() + rows_of(mel) * kMels);
  pitch_.push({mel});
  if (decoder_.done()) pitch_.finish();
  if (pitch_.rows_ready() == 0) return;
  const Tensor& log_f0 = pitch_.pull(kAll)[0];
  check_rows(pitch_, f0_rows_ += rows_of(log_f0));
  // The mel keeps its own pitch: the pulses alone decide what is heard, and the formants stay where they are.
  log_f0_.assign(log_f0.f32(), log_f0.f32() + rows_of(log_f0));
  for (float& value : log_f0_) value += log_shift_;
  source_.push(log_f0_.data(), log_f0_.size());
}

void VoiceChain::pass_source() {
  const size_t count = source_.ready();
  if (count == 0) return;
  rows_.resize(count * kSourceWidth);
  source_.pull(rows_.data(), count);
  std::vector<Tensor> inputs(2);
  inputs[vocoder_order_[0]] = rows_view(mel_, count, kMels);
  inputs[vocoder_order_[1]] = rows_view(rows_, count, kSourceWidth);
  vocoder_.push(inputs);
  mel_.erase(mel_.begin(), mel_.begin() + static_cast<ptrdiff_t>(count * kMels));
  if (pitch_.done() && source_.ready() == 0) vocoder_.finish();
}

void VoiceChain::pass_spectrum() {
  if (vocoder_.rows_ready() == 0) return;
  const Tensor& spectrum = vocoder_.pull(kAll)[0];
  check_rows(vocoder_, spectrum_rows_ += rows_of(spectrum));
  inverse_.push(spectrum.f32(), rows_of(spectrum));
}

}  // namespace pocketuni
