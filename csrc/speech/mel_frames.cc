#include "speech/mel_frames.h"

#include <algorithm>
#include <limits>

#include "speech/audio_frames.h"
#include "speech/voice_towers.h"

namespace pocketuni {
namespace {

/// docs/voice.md, Audio and mel.
NodeSpec mel_node() {
  NodeSpec node;
  node.op = "mel_spectrogram";
  node.name = "mel";
  node.outputs = {1};
  node.attributes = {{"n_fft", static_cast<int64_t>(kFftSamples)},
                     {"hop", static_cast<int64_t>(kHopSamples)},
                     {"mels", static_cast<int64_t>(kMels)},
                     {"rate", static_cast<double>(kRateHz)},
                     {"high", 8000.0}};
  return node;
}

const std::vector<InputInfo> kSamples = {{true, {DType::kF32, {1, 0}}, nullptr}};

}  // namespace

MelFrames::MelFrames(const SessionOptions& options)
    : kernels_(choose_kernels(options.isa)), pool_(options.threads), op_(make_op(mel_node(), kSamples)) {
  scratch_.reserve(op_->scratch_bytes(kSamples, pool_.size()));
}

void MelFrames::push(const float* samples, size_t count, std::vector<float>* mel) {
  held_.insert(held_.end(), samples, samples + count);
  const auto hop = static_cast<int64_t>(kHopSamples), edge = static_cast<int64_t>(kEdgeSamples);
  const int64_t there = first_ + static_cast<int64_t>(held_.size());
  const int64_t complete = std::max<int64_t>(0, (there + edge - static_cast<int64_t>(kFftSamples)) / hop + 1);
  if (there < static_cast<int64_t>(kFftSamples - kEdgeSamples) || complete <= frame_) return;
  const int64_t rows = complete - frame_;
  const size_t at = mel->size();
  mel->resize(at + static_cast<size_t>(rows) * kMels);

  const TimeChunk chunk{first_, frame_, std::numeric_limits<int64_t>::max()};
  RunContext context{};
  context.kernels = kernels_;
  context.pool = &pool_;
  context.inputs = {{{DType::kF32, {1, static_cast<int64_t>(held_.size())}}, held_.data()}};
  context.outputs = {{{DType::kF32, {1, rows, static_cast<int64_t>(kMels)}}, mel->data() + at}};
  context.scratch = scratch_.data();
  context.chunk = &chunk;
  op_->run(context);

  frame_ = complete;
  const int64_t keep = std::clamp<int64_t>(frame_ * hop - edge, first_, there);
  held_.erase(held_.begin(), held_.begin() + (keep - first_));
  first_ = keep;
}

}  // namespace pocketuni
