// gru, lstm, rnn: what the inputs give is there already (a `linear` over all steps), so a step is one product with the
// state and a few functions of its rows. Sequences of a batch are independent: threads share them.
#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/error.h"
#include "ops/conv_window.h"

namespace pocketuni {
namespace {

enum class Cell { kGru, kLstm, kRnn };

class Recurrent final : public Op {
 public:
  Recurrent(Cell cell, Attributes& attributes, const Inputs& inputs)
      : cell_(cell),
        gates_(cell == Cell::kGru    ? 3
               : cell == Cell::kLstm ? 4
                                     : 1),
        weight_(inputs[1].tensor) {
    if (weight_ == nullptr || weight_->encoding < Encoding::kGemmF32 || weight_->encoding > Encoding::kGemmI8) {
      fail_argument("the weight is not gemm_f32, gemm_f16 or gemm_i8");
    }
    reverse_ = attributes.flag("reverse");
    if (cell == Cell::kGru) reset_after_ = attributes.integer("reset_after", 1) != 0;
    if (cell == Cell::kRnn) {
      const Activation activation = parse_activation(attributes.text("activation", "tanh"));
      if (activation != Activation::kTanh && activation != Activation::kRelu) {
        fail_argument("the activation is not tanh or relu");
      }
      relu_ = activation == Activation::kRelu;
    }
    width_ = weight_->dims[1];
    if (width_ < 1 || weight_->dims[0] != gates_ * width_) {
      fail_argument("the weight is " + shape_text(weight_->dims) + ", expected [" + std::to_string(gates_) +
                    " width, width]");
    }
    q_stride_ = (width_ + kGroup - 1) / kGroup * kGroup;
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const Shape& x = in[0].type.shape;
    if (x.size() != 3 || x[2] != gates_ * width_ || x[0] > (1 << 30) || x[1] > (1 << 30)) {
      fail_argument("x is " + shape_text(x) + ", expected [time, batch, " + std::to_string(gates_ * width_) + "]");
    }
    check_optional(in, 2, {gates_ * width_}, "bias");
    check_optional(in, 3, {x[1], width_}, "the first state");
    check_optional(in, 4, {x[1], width_}, "the first cell");
    check_optional(in, 5, {3 * width_}, "peepholes");
    return {{DType::kF32, {x[0], x[1], out_width()}}};
  }

  size_t scratch_bytes(const Inputs& in, int) const override {
    const size_t rows = static_cast<size_t>(in[0].type.shape[1]), width = static_cast<size_t>(width_);
    const size_t floats = rows * width * static_cast<size_t>(gates_ + 3);
    return round64(floats * sizeof(float)) + round64(rows * q_stride_) + round64(rows * sizeof(float)) +
           round64(rows * (q_stride_ / kGroup) * sizeof(int32_t));
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return {}; }

  void run(RunContext& context) const override {
    const Shape& x = context.inputs[0].type.shape;
    const int64_t batch = x[1], threads = context.pool->size();
    const bool alone = static_cast<double>(batch * x[0]) * static_cast<double>(gates_ * width_ * width_) < 65536;
    const int64_t share = alone ? batch : std::max<int64_t>(1, (batch + threads - 1) / threads);
    const Job job = bind(context);
    if (job.state == nullptr) std::memset(job.before, 0, static_cast<size_t>(batch * width_) * sizeof(float));
    context.pool->parallel(static_cast<int>((batch + share - 1) / share), [&](int part, int) {
      const int64_t begin = part * share, count = std::min(share, batch - begin);
      Rows rows{(job.state != nullptr ? job.state : job.before) + begin * width_, width_, job.cell};
      if (rows.c != nullptr) rows.c += begin * width_;
      for (int64_t t = 0; t < x[0]; ++t) {
        const int64_t at = (reverse_ ? x[0] - 1 - t : t) * batch + begin;
        step(context, job, begin, count, rows, job.x + at * gates_ * width_, job.y + at * out_width());
        rows = {job.y + at * out_width(), out_width(), job.y + at * out_width() + width_};
      }
    });
  }

 private:
  /// The state before a step: rows of h, `stride` apart, and of the cell (of lstm), as far apart; null: zeros.
  struct Rows {
    const float* h;
    int64_t stride;
    const float* c;
  };
  struct Job {
    const float *x, *bias, *state, *cell, *peepholes;
    float *y, *gates, *before, *product, *update;
    int8_t* q;
    float* scale;
    int32_t* sum;
  };

  int64_t out_width() const { return cell_ == Cell::kLstm ? 2 * width_ : width_; }

  Job bind(const RunContext& context) const {
    const int64_t rows = context.inputs[0].type.shape[1];
    Job job{};
    job.x = context.inputs[0].f32(), job.y = static_cast<float*>(context.outputs[0].data);
    job.bias = optional_data(context, 2), job.state = optional_data(context, 3);
    job.cell = optional_data(context, 4), job.peepholes = optional_data(context, 5);
    job.gates = reinterpret_cast<float*>(context.scratch);
    job.before = job.gates + rows * gates_ * width_;
    job.product = job.before + rows * width_;
    job.update = job.product + rows * width_;
    unsigned char* scratch = context.scratch + round64(static_cast<size_t>(rows * width_ * (gates_ + 3)) * 4);
    job.q = reinterpret_cast<int8_t*>(scratch);
    scratch += round64(static_cast<size_t>(rows * q_stride_));
    job.scale = reinterpret_cast<float*>(scratch);
    job.sum = reinterpret_cast<int32_t*>(scratch + round64(static_cast<size_t>(rows) * sizeof(float)));
    return job;
  }

  // y[count][outputs] = h w^T + bias, for outputs of the panels from `panel` on.
  void multiply(const RunContext& context, const Job& job, int64_t begin, int64_t count, const float* h, int64_t stride,
                int64_t panel, float* y) const {
    const Kernels& kernels = *context.kernels;
    const int64_t first = panel * kPanel, n = gates_ * width_ - first, k = width_;
    const int rows = static_cast<int>(count), inputs = static_cast<int>(k), outputs = static_cast<int>(n);
    Epilogue epilogue;
    if (job.bias != nullptr) epilogue.bias = job.bias + first;
    const uint8_t* data = weight_->data;
    y += first;
    const int64_t y_stride = gates_ * width_;
    if (weight_->encoding == Encoding::kGemmF32) {
      kernels.gemm_f32(h, stride, rows, inputs, reinterpret_cast<const float*>(data) + panel * k * kPanel, outputs,
                       &epilogue, y, y_stride);
    } else if (weight_->encoding == Encoding::kGemmF16) {
      kernels.gemm_f16(h, stride, rows, inputs, reinterpret_cast<const uint16_t*>(data) + panel * k * kPanel, outputs,
                       &epilogue, y, y_stride);
    } else {
      const int64_t panels = (gates_ * width_ + kPanel - 1) / kPanel, sums = q_stride_ / kGroup;
      const QuantizedRows q{job.q + begin * q_stride_, q_stride_, job.scale + begin, job.sum + begin * sums};
      kernels.quantize_rows(h, stride, rows, inputs, job.q + begin * q_stride_, q_stride_, job.scale + begin,
                            job.sum + begin * sums);
      kernels.gemm_i8(&q, rows, inputs, data + panels * 64 + panel * ((k + 3) / 4) * 64,
                      reinterpret_cast<const float*>(data) + panel * kPanel, outputs, &epilogue, y, y_stride);
    }
  }

  void step(const RunContext& context, const Job& job, int64_t begin, int64_t count, const Rows& before, const float* x,
            float* y) const {
    float* gates = job.gates + begin * gates_ * width_;
    multiply(context, job, begin, count, before.h, before.stride, 0, gates);
    if (cell_ == Cell::kGru && !reset_after_) return reset_first(context, job, begin, count, before, x, y);
    for (int64_t r = 0; r < count; ++r, gates += gates_ * width_, x += gates_ * width_, y += out_width()) {
      const float* h = before.h + r * before.stride;
      const float* c = before.c == nullptr ? nullptr : before.c + r * before.stride;
      if (cell_ == Cell::kGru) gru(context, x, gates, h, y);
      if (cell_ == Cell::kLstm) lstm(context, job, x, gates, c, y);
      if (cell_ == Cell::kRnn) {
        add(context, gates, x, gates);
        context.kernels->unary_f32(relu_ ? Unary::kRelu : Unary::kTanh, gates, y, size(), 0.0f, 0.0f);
      }
    }
  }

  size_t size(int64_t times = 1) const { return static_cast<size_t>(times * width_); }
  void add(const RunContext& context, const float* a, const float* b, float* y, int64_t times = 1) const {
    context.kernels->binary_f32(Binary::kAdd, a, 1, b, 1, y, size(times));
  }
  void multiply_rows(const RunContext& context, const float* a, const float* b, float* y) const {
    context.kernels->binary_f32(Binary::kMul, a, 1, b, 1, y, size());
  }
  void sigmoid(const RunContext& context, float* x, int64_t times) const {
    context.kernels->unary_f32(Unary::kSigmoid, x, x, size(times), 0.0f, 0.0f);
  }
  void tanh(const RunContext& context, const float* x, float* y) const {
    context.kernels->unary_f32(Unary::kTanh, x, y, size(), 0.0f, 0.0f);
  }

  // y = n + z (h - n) for the update z and the new n.
  void mix(const RunContext& context, const float* z, float* n, const float* h, float* y) const {
    tanh(context, n, n);
    context.kernels->binary_f32(Binary::kSub, h, 1, n, 1, y, size());
    multiply_rows(context, z, y, y);
    add(context, n, y, y);
  }

  // gates: update z, reset r, new n.
  void gru(const RunContext& context, const float* x, float* gates, const float* h, float* y) const {
    float *r = gates + width_, *n = gates + 2 * width_;
    add(context, gates, x, gates, 2);
    sigmoid(context, gates, 2);
    multiply_rows(context, r, n, n);
    add(context, n, x + 2 * width_, n);
    mix(context, gates, n, h, y);
  }

  // The new gate's product reads r h, so it is computed a second time, from the panel on that holds its first output.
  void reset_first(const RunContext& context, const Job& job, int64_t begin, int64_t count, const Rows& before,
                   const float* x, float* y) const {
    const int64_t wide = gates_ * width_;
    float *gates = job.gates + begin * wide, *reset = job.product + begin * width_;
    for (int64_t r = 0; r < count; ++r) {
      add(context, gates + r * wide, x + r * wide, gates + r * wide, 2);
      sigmoid(context, gates + r * wide, 2);
      std::copy_n(gates + r * wide, width_, job.update + (begin + r) * width_);
      multiply_rows(context, gates + r * wide + width_, before.h + r * before.stride, reset + r * width_);
    }
    // What the panel holds besides overwrites other gates: the reset has been used, the update is kept.
    multiply(context, job, begin, count, reset, width_, 2 * width_ / kPanel, gates);
    for (int64_t r = 0; r < count; ++r) {
      float* n = gates + r * wide + 2 * width_;
      add(context, n, x + r * wide + 2 * width_, n);
      mix(context, job.update + (begin + r) * width_, n, before.h + r * before.stride, y + r * width_);
    }
  }

  // gates: input i, output o, forget f, cell g; y: the state, then the cell.
  void lstm(const RunContext& context, const Job& job, const float* x, float* gates, const float* c, float* y) const {
    float *o = gates + width_, *f = gates + 2 * width_, *g = gates + 3 * width_, *next = y + width_;
    add(context, gates, x, gates, 4);
    if (job.peepholes != nullptr && c != nullptr) {
      for (int64_t i = 0; i < width_; ++i) gates[i] += job.peepholes[i] * c[i];
      for (int64_t i = 0; i < width_; ++i) f[i] += job.peepholes[2 * width_ + i] * c[i];
    }
    sigmoid(context, gates, 1);
    sigmoid(context, f, 1);
    tanh(context, g, g);
    multiply_rows(context, gates, g, g);
    if (c == nullptr) {
      std::copy_n(g, width_, next);
    } else {
      multiply_rows(context, f, c, f);
      add(context, f, g, next);
    }
    if (job.peepholes != nullptr) {
      for (int64_t i = 0; i < width_; ++i) o[i] += job.peepholes[width_ + i] * next[i];
    }
    sigmoid(context, o, 1);
    tanh(context, next, y);
    multiply_rows(context, o, y, y);
  }

  Cell cell_;
  int64_t gates_, width_ = 0, q_stride_ = 0;
  const TensorEntry* weight_;
  bool reverse_ = false, reset_after_ = true, relu_ = false;
};

}  // namespace

std::unique_ptr<Op> make_recurrent(const NodeSpec& node, Attributes& attributes, const Inputs& inputs) {
  const Cell cell = node.op == "gru" ? Cell::kGru : node.op == "lstm" ? Cell::kLstm : Cell::kRnn;
  return std::make_unique<Recurrent>(cell, attributes, inputs);
}

}  // namespace pocketuni
