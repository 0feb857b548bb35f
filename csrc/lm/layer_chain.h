// A transformer whose attention looks back only: towers PREFIX.0 .. PREFIX.N with attention between them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lm/kv_cache.h"
#include "lm/row_tower.h"

namespace pocketuni {

struct ChainSettings {
  int heads = 1, kv_heads = 1;
  int64_t context = 0;    ///< positions that one sees, itself included; 0 for all
  double period = 10000;  ///< of the slowest turn of rotary positions
};

/// PREFIX.0 takes `x` and gives `qkv` (queries, keys, values of all heads); PREFIX.i takes `attended` and `x` and gives
/// `y`, the next layer's `x`, and its `qkv`; PREFIX.N gives `y` alone. What it gives for a position does not depend, by
/// a bit, on how positions are cut into calls. Not thread-safe.
class LayerChain {
 public:
  /// Throws Error(kInvalidArgument) when towers are missing or do not fit each other or the settings.
  /// `many`: other options for calls with many rows, where those for a few are others.
  LayerChain(const std::shared_ptr<const Model>& model, const std::string& prefix, const ChainSettings& settings,
             const SessionOptions& options, const SessionOptions& many);
  LayerChain(const std::shared_ptr<const Model>& model, const std::string& prefix, const ChainSettings& settings,
             const SessionOptions& options)
      : LayerChain(model, prefix, settings, options, options) {}

  size_t width() const { return towers_[0]->input_width(0); }
  size_t layers() const { return caches_.size(); }
  /// Floats of the keys of a position, in one layer; of its values as many.
  size_t key_width() const { return keys_; }
  size_t key_heads() const { return static_cast<size_t>(settings_.kv_heads); }
  const RowTower& last() const { return *towers_.back(); }
  int64_t position() const { return caches_[0].end(); }

  /// The next rows. The result is valid until the next call.
  Rows run(const float* x, size_t rows);
  /// The same where only what is given for the last row is needed.
  Rows run_last(const float* x, size_t rows);
  /// Forgets all positions.
  void reset();
  /// Forgets all positions from `position` on. Only without a context.
  void rewind(int64_t position);
  /// Halves [layers][keys, values][positions][key_width]: what has been seen so far. Only without a context.
  std::vector<uint16_t> read_state() const;
  /// Continues from a state of `positions`.
  void load_state(const std::vector<uint16_t>& state, size_t positions);

 private:
  using Towers = std::vector<std::unique_ptr<RowTower>>;
  Towers open_towers(const std::shared_ptr<const Model>& model, const std::string& prefix,
                     const SessionOptions& options) const;
  void check_sizes(const std::string& prefix) const;
  Rows run_block(const float* x, size_t rows, bool only_last);
  void turn(float* row, int heads, size_t place, float scale) const;
  void find_turns(size_t rows);

  ChainSettings settings_;
  Towers towers_, many_towers_;
  std::vector<KvCache> caches_;  // of each layer
  ThreadPool pool_, many_pool_;
  size_t queries_ = 0, keys_ = 0, head_ = 0;
  std::vector<float> frequencies_, turns_;  // [head / 2]; cosines and sines [rows][head / 2][2]
  std::vector<float> qkv_, attended_, results_;
};

}  // namespace pocketuni
