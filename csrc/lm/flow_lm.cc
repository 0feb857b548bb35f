#include "lm/flow_lm.h"

#include <algorithm>

#include "base/error.h"

namespace pocketuni {
namespace {

bool has_times(FlowKind kind) { return kind == FlowKind::kLsd || kind == FlowKind::kFlowMatching; }

std::vector<const char*> flow_inputs(FlowKind kind) {
  std::vector<const char*> names = {"hidden", "x"};
  if (has_times(kind)) names.push_back("time");
  return names;
}

}  // namespace

FlowLm::FlowLm(const std::shared_ptr<const Model>& model, const PocketSettings& settings, const SessionOptions& options,
               const SessionOptions& many)
    : kind_(settings.flow),
      chain_(model, "lm", settings.lm, options, many),
      text_(model, "lm.text", options, {"ids"}, {"x"}),
      latent_in_(model, "lm.latent", options, {"latent"}, {"x"}),
      out_(model, "lm.out", options, {"y"}, {"eos", "hidden"}),
      flow_(model, "lm.flow", options, flow_inputs(settings.flow), {"flow"}),
      latent_(latent_in_.input_width(0)) {
  if (has_times(kind_)) {
    const bool two = kind_ == FlowKind::kLsd;
    time_ = std::make_unique<RowTower>(model, "lm.time", options,
                                       two ? std::vector{"start", "end"} : std::vector<const char*>{"start"},
                                       std::vector<const char*>{"time"});
    check_widths(*time_, 0, flow_, 2);
  }
  if (RowTower::exists(*model, "lm.prompt")) {
    prompt_ = std::make_unique<RowTower>(model, "lm.prompt", options, std::vector<const char*>{"latent"},
                                         std::vector<const char*>{"x"});
  }
  for (const RowTower* tower : {&text_, &latent_in_, prompt_ != nullptr ? prompt_.get() : &text_}) {
    if (tower->output_width(0) != chain_.width()) {
      fail_argument("tower '" + tower->name() + "' gives rows of " + std::to_string(tower->output_width(0)) +
                    " floats, tower 'lm.0' takes " + std::to_string(chain_.width()));
    }
  }
  check_widths(chain_.last(), 0, out_, 0);
  check_widths(out_, 1, flow_, 0);
  if (flow_.input_width(1) != latent_ || flow_.output_width(0) != latent_ || out_.output_width(0) != 1) {
    fail_argument("towers 'lm.latent', 'lm.out' and 'lm.flow' do not agree on the width of a latent");
  }
  bos_ = read_floats(model->file(), "pocket.bos", latent_, false);
  voice_bos_ = read_floats(model->file(), "pocket.voice_bos", chain_.width(), true);
}

void FlowLm::rewind(int64_t positions) {
  chain_.rewind(positions);
  waiting_.clear();
}

void FlowLm::load_state(const std::vector<uint16_t>& state, size_t positions) {
  chain_.load_state(state, positions);
  waiting_.clear();
}

void FlowLm::push_prompt(const float* latents, size_t rows) {
  std::vector<float> x = voice_bos_;
  if (rows > 0) {
    prompt_->run({latents}, rows);
    const float* projected = prompt_->output(0).data;
    x.insert(x.end(), projected, projected + rows * chain_.width());
  }
  chain_.run_last(x.data(), x.size() / chain_.width());
}

void FlowLm::push_text(const std::vector<int64_t>& ids) {
  if (ids.empty()) return;
  text_.run({ids.data()}, ids.size());
  const float* x = text_.output(0).data;
  waiting_.insert(waiting_.end(), x, x + ids.size() * chain_.width());
}

/// What the net adds for the times of a step; null for a net without times.
const float* FlowLm::times(int step, int steps) {
  if (time_ == nullptr) return nullptr;
  if (times_.size() != static_cast<size_t>(steps)) {
    times_.clear();
    for (int i = 0; i < steps; ++i) {
      const float start = static_cast<float>(static_cast<double>(i) / steps);
      const float end = static_cast<float>(static_cast<double>(i + 1) / steps);
      std::vector<const void*> inputs = {&start};
      if (kind_ == FlowKind::kLsd) inputs.push_back(&end);
      time_->run(inputs, 1);
      const float* row = time_->output(0).data;
      times_.emplace_back(row, row + time_->output_width(0));
    }
  }
  return times_[static_cast<size_t>(step)].data();
}

float FlowLm::step(const float* latent, const float* noise, int steps, float* next) {
  latent_in_.run({latent == nullptr ? bos_.data() : latent}, 1);
  const float* x = latent_in_.output(0).data;
  waiting_.insert(waiting_.end(), x, x + chain_.width());
  const std::vector<float> rows = std::move(waiting_);
  waiting_.clear();
  const Rows y = chain_.run_last(rows.data(), rows.size() / chain_.width());
  out_.run({y.data}, 1);
  const float eos = out_.output(0).data[0];
  const float* hidden = out_.output(1).data;
  std::copy_n(noise, latent_, next);
  if (!has_times(kind_)) steps = 1;  // one step is all that such a net knows
  const float share = 1.0f / static_cast<float>(steps);
  for (int i = 0; i < steps; ++i) {
    std::vector<const void*> inputs = {hidden, next};
    if (const float* time = times(i, steps)) inputs.push_back(time);
    flow_.run(inputs, 1);
    const float* flow = flow_.output(0).data;
    for (size_t c = 0; c < latent_; ++c) {
      next[c] = kind_ == FlowKind::kDrifting ? flow[c] : next[c] + flow[c] * share;
    }
  }
  return eos;
}

}  // namespace pocketuni
