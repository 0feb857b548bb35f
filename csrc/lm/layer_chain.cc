#include "lm/layer_chain.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "lm/half.h"

namespace pocketuni {
namespace {

constexpr size_t kBlockRows = 128;  // at once: activations stay in the cache
constexpr size_t kManyRows = 8;     // from here on a second thread is worth being woken
constexpr int64_t kMaxPositions = 1 << 20;

/// Where weights are whole floats, what is cached is, too.
bool keeps_floats(const ModelFile& file, const TowerSpec& spec) {
  for (const NodeSpec& node : spec.nodes) {
    for (const Operand& operand : node.inputs) {
      if (operand.kind == Operand::kTensor && file.tensors()[operand.index].encoding == Encoding::kGemmF32) return true;
    }
  }
  return false;
}

}  // namespace

LayerChain::Towers LayerChain::open_towers(const std::shared_ptr<const Model>& model, const std::string& prefix,
                                           const SessionOptions& options) const {
  size_t layers = 0;
  while (RowTower::exists(*model, prefix + "." + std::to_string(layers + 1))) ++layers;
  if (layers == 0) fail_argument(model->file().path() + " lacks the towers '" + prefix + ".0' and '" + prefix + ".1'");
  Towers towers;
  for (size_t i = 0; i <= layers; ++i) {
    const std::vector<const char*> inputs = i == 0 ? std::vector<const char*>{"x"} : std::vector{"attended", "x"};
    std::vector<const char*> outputs;
    if (i > 0) outputs.push_back("y");
    if (i < layers) outputs.push_back("qkv");
    towers.push_back(std::make_unique<RowTower>(model, prefix + "." + std::to_string(i), options, inputs, outputs));
  }
  return towers;
}

/// Throws unless all towers agree on the sizes that the first two and the settings ask for.
void LayerChain::check_sizes(const std::string& prefix) const {
  const size_t all = towers_[0]->output_width(0);
  if (queries_ % static_cast<size_t>(settings_.heads) != 0 || head_ % 2 != 0 || queries_ + 2 * keys_ != all ||
      keys_ != head_ * key_heads() || settings_.heads % settings_.kv_heads != 0) {
    fail_argument("towers '" + prefix + ".*': queries of " + std::to_string(queries_) + " in rows of " +
                  std::to_string(all) + " do not divide into " + std::to_string(settings_.heads) + " heads and " +
                  std::to_string(settings_.kv_heads) + " of keys and values");
  }
  for (size_t i = 0; i + 1 < towers_.size(); ++i) {
    const RowTower &from = *towers_[i], &to = *towers_[i + 1];
    if (to.input_width(0) != queries_ || to.input_width(1) != width() || from.output_width(i == 0 ? 0 : 1) != all ||
        (i > 0 && from.output_width(0) != width())) {
      fail_argument("towers '" + from.name() + "' and '" + to.name() + "' do not fit the first layer's sizes");
    }
  }
}

LayerChain::LayerChain(const std::shared_ptr<const Model>& model, const std::string& prefix,
                       const ChainSettings& settings, const SessionOptions& options, const SessionOptions& many)
    : settings_(settings),
      towers_(open_towers(model, prefix, options)),
      pool_(options.threads),
      many_pool_(many.threads == options.threads ? 1 : many.threads) {
  const size_t all = towers_[0]->output_width(0);
  queries_ = towers_[1]->input_width(0);
  keys_ = all > queries_ ? (all - queries_) / 2 : 0;
  head_ = queries_ / static_cast<size_t>(settings.heads);
  check_sizes(prefix);
  if (many.threads != options.threads) many_towers_ = open_towers(model, prefix, many);
  const AttentionShape shape{settings.heads, settings.kv_heads, static_cast<int>(head_), settings.context};
  const bool half = !keeps_floats(model->file(), towers_[0]->spec());
  for (size_t i = 0; i + 1 < towers_.size(); ++i) caches_.emplace_back(choose_kernels(options.isa), shape, half);
  for (size_t i = 0; i < head_ / 2; ++i) {
    const double exponent = static_cast<double>(i) * (-2 * std::log(settings.period) / static_cast<double>(head_));
    frequencies_.push_back(static_cast<float>(std::exp(exponent)));
  }
}

/// Cosines and sines for the next rows: the angle in float, as the models were trained with.
void LayerChain::find_turns(size_t rows) {
  turns_.resize(rows * head_);
  float* turn = turns_.data();
  for (size_t row = 0; row < rows; ++row) {
    const float position = static_cast<float>(this->position() + static_cast<int64_t>(row));
    for (float frequency : frequencies_) {
      const double angle = frequency * position;
      *turn++ = static_cast<float>(std::cos(angle));
      *turn++ = static_cast<float>(std::sin(angle));
    }
  }
}

/// Turns pairs of neighbours of each head by the angles of the `place`th row.
void LayerChain::turn(float* row, int heads, size_t place, float scale) const {
  const float* turns = turns_.data() + place * head_;
  for (int head = 0; head < heads; ++head, row += head_) {
    for (size_t i = 0; i < head_; i += 2) {
      const float a = row[i], b = row[i + 1], cosine = turns[i], sine = turns[i + 1];
      row[i] = (a * cosine - b * sine) * scale;
      row[i + 1] = (a * sine + b * cosine) * scale;
    }
  }
}

Rows LayerChain::run(const float* x, size_t rows) {
  if (rows <= kBlockRows) return run_block(x, rows, false);
  results_.clear();
  for (size_t row = 0; row < rows; row += kBlockRows) {
    const Rows part = run_block(x + row * width(), std::min(kBlockRows, rows - row), false);
    results_.insert(results_.end(), part.data, part.data + part.count * last().output_width(0));
  }
  return {results_.data(), rows};
}

Rows LayerChain::run_last(const float* x, size_t rows) {
  Rows result;
  for (size_t row = 0; row < rows; row += kBlockRows) {
    result = run_block(x + row * width(), std::min(kBlockRows, rows - row), true);
  }
  return result;
}

Rows LayerChain::run_block(const float* x, size_t rows, bool only_last) {
  if (position() + static_cast<int64_t>(rows) > kMaxPositions) {
    fail_argument("more than " + std::to_string(kMaxPositions) + " positions in one sequence");
  }
  const bool many = rows >= kManyRows && !many_towers_.empty();
  const Towers& towers = many ? many_towers_ : towers_;
  find_turns(rows);
  const size_t all = queries_ + 2 * keys_;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_)));
  attended_.resize(rows * queries_);
  towers[0]->run({x}, rows);
  size_t count = rows;
  for (size_t layer = 0; layer < layers(); ++layer) {
    const Rows qkv = towers[layer]->output(layer == 0 ? 0 : 1);
    qkv_.assign(qkv.data, qkv.data + rows * all);
    for (size_t row = 0; row < rows; ++row) {
      turn(qkv_.data() + row * all, settings_.heads, row, scale);
      turn(qkv_.data() + row * all + queries_, settings_.kv_heads, row, 1.0f);
    }
    const auto stride = static_cast<ptrdiff_t>(all);
    caches_[layer].append(qkv_.data() + queries_, qkv_.data() + queries_ + keys_, stride, rows);
    if (only_last && layer + 1 == layers()) count = 1;
    const size_t first = rows - count;
    caches_[layer].attend(qkv_.data() + first * all, stride, count, attended_.data(), many ? &many_pool_ : &pool_);
    towers[layer + 1]->run({attended_.data(), x + first * width()}, count);
    x = towers[layer + 1]->output(0).data;
  }
  return {x, count};
}

void LayerChain::reset() {
  for (KvCache& cache : caches_) cache.clear();
}

void LayerChain::rewind(int64_t position) {
  for (KvCache& cache : caches_) cache.rewind(position);
}

std::vector<uint16_t> LayerChain::read_state() const {
  const size_t positions = static_cast<size_t>(position());
  std::vector<uint16_t> state(layers() * 2 * positions * keys_);
  std::vector<float> row(2 * keys_);
  for (size_t layer = 0; layer < layers(); ++layer) {
    uint16_t* keys = state.data() + layer * 2 * positions * keys_;
    for (size_t i = 0; i < positions; ++i) {
      caches_[layer].read(static_cast<int64_t>(i), row.data(), row.data() + keys_);
      std::transform(row.data(), row.data() + keys_, keys + i * keys_, to_half);
      std::transform(row.data() + keys_, row.data() + 2 * keys_, keys + (positions + i) * keys_, to_half);
    }
  }
  return state;
}

void LayerChain::load_state(const std::vector<uint16_t>& state, size_t positions) {
  reset();
  for (size_t layer = 0; layer < layers(); ++layer) {
    const uint16_t* keys = state.data() + layer * 2 * positions * keys_;
    caches_[layer].append_halves(keys, keys + positions * keys_, static_cast<ptrdiff_t>(keys_), positions);
  }
}

}  // namespace pocketuni
