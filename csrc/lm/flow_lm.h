// The language model of Pocket TTS: a sequence of voice prompt, text and latents, each latent drawn from what stands
// before it.
#pragma once
#include <memory>
#include <vector>

#include "lm/layer_chain.h"
#include "lm/pocket_settings.h"

namespace pocketuni {

/// One sequence at a time. Not thread-safe.
class FlowLm {
 public:
  /// Throws Error(kInvalidArgument) for towers that do not fit.
  /// `many`: options for prompts and texts, where those of single steps are others.
  FlowLm(const std::shared_ptr<const Model>& model, const PocketSettings& settings, const SessionOptions& options,
         const SessionOptions& many);

  size_t latent_width() const { return latent_; }
  const LayerChain& chain() const { return chain_; }
  /// Whether voices can be made of the encoder's latents, and how wide those are.
  bool takes_prompts() const { return prompt_ != nullptr; }
  size_t prompt_width() const { return prompt_->input_width(0); }

  /// Forgets what stands behind the first `positions`: 0 begins anew.
  void rewind(int64_t positions);
  /// Continues from a state that LayerChain::read_state gave.
  void load_state(const std::vector<uint16_t>& state, size_t positions);
  /// Appends a voice prompt: rows of prompt_width() floats. Only at the start of a sequence.
  void push_prompt(const float* latents, size_t rows);
  /// Appends tokens. Throws Error(kInvalidArgument) for an id outside the vocabulary.
  void push_text(const std::vector<int64_t>& ids);
  /// Appends a latent, null for the one that begins speech, and draws the next one into `next` from `noise`, both
  /// latent_width() floats, in `steps` steps. Returns how sure the model is that speech has ended (a logit).
  float step(const float* latent, const float* noise, int steps, float* next);

 private:
  const float* times(int step, int steps);

  FlowKind kind_;
  LayerChain chain_;
  RowTower text_, latent_in_, out_, flow_;
  std::unique_ptr<RowTower> time_, prompt_;
  size_t latent_ = 0;
  std::vector<float> bos_, voice_bos_;
  std::vector<float> waiting_;             // rows of text, read together with the latent that follows
  std::vector<std::vector<float>> times_;  // of each step of the last number of steps
};

}  // namespace pocketuni
