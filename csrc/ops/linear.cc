// linear: y = act(x w^T + bias) + residual, with weights of any precision in kernel order.
#include <algorithm>

#include "base/error.h"
#include "ops/gemm_weight.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class Linear final : public Op {
 public:
  Linear(Attributes& attributes, const Inputs& inputs)
      : activation_(parse_activation(attributes.text("activation", "none"))), weight_(inputs[1].tensor) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const Shape& x = in[0].type.shape;
    if (x.empty() || x.back() != weight_.k()) {
      fail_argument("x is " + shape_text(x) + ", expected a last dimension of " + std::to_string(weight_.k()));
    }
    Shape y = x;
    y.back() = weight_.outputs();
    if (in.size() > 2 && in[2].present) {
      expect_float(in[2], "bias");
      if (in[2].type.shape != Shape{weight_.outputs()}) fail_argument("bias is " + shape_text(in[2].type.shape));
    }
    if (in.size() > 3 && in[3].present) {
      expect_float(in[3], "residual");
      if (in[3].type.shape != y) fail_argument("residual is " + shape_text(in[3].type.shape));
    }
    if (element_count(y) / std::max(weight_.outputs(), 1) > (1 << 30)) fail_argument("too many rows");
    return {{DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs& in, int) const override {
    return weight_.rounded_bytes(row_count(in[0].type.shape));
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    return TimeMap::rows_if(!is_last_axis(in[0], axes[0]));
  }

  void run(RunContext& context) const override {
    const int rows = static_cast<int>(row_count(context.inputs[0].type.shape));
    const int threads = context.pool->size(), panels = weight_.panels();
    const double work = static_cast<double>(rows) * weight_.outputs() * weight_.k();
    if (threads == 1 || work < 32768) {
      round(context, rows, 0, rows);
      multiply(context, rows, 0, rows, 0, panels);
    } else if (rows >= least_rows(*context.kernels) * threads) {
      // Each task keeps its rows from quantization to the last output: one parallel region, no barrier inside.
      const int share = (rows + threads - 1) / threads, half = (share + 1) / 2;
      const int block = share < kEvenRows ? share : std::min((half + 7) / 8 * 8, 128);
      context.pool->parallel((rows + block - 1) / block, [&](int index, int) {
        const int begin = index * block, count = std::min(block, rows - begin);
        round(context, rows, begin, count);
        multiply(context, rows, begin, count, 0, panels);
      });
    } else {
      round(context, rows, 0, rows);
      const int tasks = std::min(panels, threads * (panels >= 16 * threads ? 2 : 1));
      const int share = ((panels + tasks - 1) / tasks + 3) / 4 * 4;
      context.pool->parallel((panels + share - 1) / share, [&](int index, int) {
        multiply(context, rows, 0, rows, index * share, std::min(share, panels - index * share));
      });
    }
  }

 private:
  static constexpr int kEvenRows = 16;  // fewer for a thread are one task

  /// From how many rows for each thread on threads share rows, and keep them from op to op, but read all weights: bytes
  /// come from the caches at a rate, lines that another core wrote one by one.
  int least_rows(const Kernels& kernels) const {
    return weight_.quantized() ? kernels.rows_of_thread : 12 * weight_.element_bytes();
  }

  size_t row_count(const Shape& x) const {
    size_t rows = 1;
    for (size_t i = 0; i + 1 < x.size(); ++i) rows *= static_cast<size_t>(x[i]);
    return rows;
  }

  void round(const RunContext& context, int all, int begin, int count) const {
    if (!weight_.quantized()) return;
    const size_t first = static_cast<size_t>(begin);
    weight_.round(*context.kernels, context.inputs[0].f32() + first * weight_.k(), weight_.k(), count, context.scratch,
                  static_cast<size_t>(all), first);
  }

  void multiply(const RunContext& context, int all, int row, int rows, int panel, int panels) const {
    const size_t first = static_cast<size_t>(row), out = static_cast<size_t>(panel) * kPanel;
    const int outputs = weight_.outputs(), n = std::min(panels * kPanel, outputs - panel * kPanel);
    Epilogue epilogue;
    epilogue.activation = activation_;
    const std::vector<Tensor>& in = context.inputs;
    if (in.size() > 2 && in[2].data != nullptr) epilogue.bias = in[2].f32() + out;
    if (in.size() > 3 && in[3].data != nullptr) epilogue.residual = in[3].f32() + first * outputs + out;
    epilogue.residual_stride = outputs;
    QuantizedRows q{};
    if (weight_.quantized()) q = weight_.rounded_rows(context.scratch, static_cast<size_t>(all), first);
    weight_.multiply(*context.kernels, in[0].f32() + first * weight_.k(), weight_.k(), q, rows, panel, n, epilogue,
                     static_cast<float*>(context.outputs[0].data) + first * outputs + out, outputs);
  }

  Activation activation_;
  GemmWeight weight_;
};

}  // namespace

std::unique_ptr<Op> make_linear(const NodeSpec&, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<Linear>(attributes, inputs);
}

}  // namespace pocketuni
