// The codec of Pocket TTS (Mimi): latents to samples while they come, and the samples of a voice to latents.
#pragma once
#include <memory>
#include <vector>

#include "graph/stream.h"
#include "lm/layer_chain.h"
#include "lm/pocket_settings.h"

namespace pocketuni {

/// Latents to samples, for one sequence after another. Samples do not depend, by a bit, on how the latents are cut into
/// calls. Not thread-safe.
class CodecDecoder {
 public:
  CodecDecoder(const std::shared_ptr<const Model>& model, const PocketSettings& settings,
               const SessionOptions& options);

  size_t latent_width() const { return frame_.input_width(0); }
  /// Begins a sequence.
  void reset();
  /// Appends the samples of `frames` latents, frame_samples each.
  void decode(const float* latents, size_t frames, std::vector<float>* samples);

 private:
  size_t frame_samples_;
  RowTower frame_, upsample_;
  LayerChain chain_;
  StreamSession samples_;
  std::vector<float> frames_;  // rows of `mimi.frame`, the first that of the frame before
};

/// The latents of a voice prompt. With more than one thread, convolutions run beside the transformer that follows them:
/// a few hand-overs cost less than one in every operator. Not thread-safe.
class CodecEncoder {
 public:
  /// Throws Error(kInvalidArgument) for a model without an encoder.
  CodecEncoder(const std::shared_ptr<const Model>& model, const PocketSettings& settings,
               const SessionOptions& options);

  size_t latent_width() const { return latent_.output_width(0); }
  /// Rows of latent_width() floats, one for every frame_samples, the last filled up with silence.
  std::vector<float> encode(std::vector<float> samples);

 private:
  class Handover;
  void make_rows(const std::vector<float>& samples, Handover* handover);
  std::vector<float> encode_rows(size_t frames, Handover* handover);

  size_t frame_samples_, frame_rows_;
  bool threaded_;
  StreamSession rows_;
  LayerChain chain_;
  RowTower latent_;
};

}  // namespace pocketuni
