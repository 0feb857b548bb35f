// linear: y = act(x w^T + bias) + residual, with weights of any precision in kernel order.
#include <algorithm>

#include "base/buffer.h"
#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class Linear final : public Op {
 public:
  Linear(Attributes& attributes, const Inputs& inputs)
      : activation_(parse_activation(attributes.text("activation", "none"))), weight_(inputs[1].tensor) {
    if (weight_ == nullptr || weight_->encoding < Encoding::kGemmF32 || weight_->encoding > Encoding::kGemmI4) {
      fail_argument("the weight is not in a gemm encoding");
    }
    outputs_ = static_cast<int>(weight_->dims[0]);
    k_ = static_cast<int>(weight_->dims[1]);
    panels_ = (outputs_ + kPanel - 1) / kPanel;
    quantized_ = weight_->encoding == Encoding::kGemmI8 || weight_->encoding == Encoding::kGemmI4;
    q_stride_ = (k_ + kGroup - 1) / kGroup * kGroup;
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const Shape& x = in[0].type.shape;
    if (x.empty() || x.back() != k_) {
      fail_argument("x is " + shape_text(x) + ", expected a last dimension of " + std::to_string(k_));
    }
    Shape y = x;
    y.back() = outputs_;
    if (in.size() > 2 && in[2].present) {
      expect_float(in[2], "bias");
      if (in[2].type.shape != Shape{outputs_}) fail_argument("bias is " + shape_text(in[2].type.shape));
    }
    if (in.size() > 3 && in[3].present) {
      expect_float(in[3], "residual");
      if (in[3].type.shape != y) fail_argument("residual is " + shape_text(in[3].type.shape));
    }
    if (element_count(y) / std::max(outputs_, 1) > (1 << 30)) fail_argument("too many rows");
    return {{DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs& in, int) const override {
    if (!quantized_) return 0;
    const size_t rows = row_count(in[0].type.shape);
    return round64(rows * q_stride_) + round64(rows * sizeof(float)) + round64(rows * (q_stride_ / kGroup) * 4);
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    return TimeMap::rows_if(!is_last_axis(in[0], axes[0]));
  }

  void run(RunContext& context) const override {
    const int rows = static_cast<int>(row_count(context.inputs[0].type.shape));
    const int threads = context.pool->size();
    const Job job = bind(context, rows);
    const double work = static_cast<double>(rows) * outputs_ * k_;
    if (threads == 1 || work < 32768) {
      if (quantized_) quantize(context, job, 0, rows);
      multiply(context, job, 0, rows, 0, panels_);
    } else if (rows >= 24 * threads) {
      // Each task keeps its rows from quantization to the last output: one parallel region, no barrier inside.
      const int wanted = (rows + 2 * threads - 1) / (2 * threads);
      const int block = std::min((wanted + 7) / 8 * 8, 128);
      context.pool->parallel((rows + block - 1) / block, [&](int index, int) {
        const int begin = index * block, count = std::min(block, rows - begin);
        if (quantized_) quantize(context, job, begin, count);
        multiply(context, job, begin, count, 0, panels_);
      });
    } else {
      if (quantized_) quantize(context, job, 0, rows);
      const int tasks = std::min(panels_, threads * (panels_ >= 16 * threads ? 2 : 1));
      const int share = ((panels_ + tasks - 1) / tasks + 3) / 4 * 4;
      context.pool->parallel((panels_ + share - 1) / share, [&](int index, int) {
        multiply(context, job, 0, rows, index * share, std::min(share, panels_ - index * share));
      });
    }
  }

 private:
  struct Job {
    const float* x;
    float* y;
    const float *bias, *residual;
    int8_t* q;     // [rows][q_stride]
    float* scale;  // [rows]
    int32_t* sum;  // [rows][q_stride / 32]
  };

  size_t row_count(const Shape& x) const {
    size_t rows = 1;
    for (size_t i = 0; i + 1 < x.size(); ++i) rows *= static_cast<size_t>(x[i]);
    return rows;
  }

  Job bind(const RunContext& context, int rows) const {
    Job job{};
    job.x = context.inputs[0].f32();
    job.y = static_cast<float*>(context.outputs[0].data);
    job.bias = context.inputs.size() > 2 ? context.inputs[2].f32() : nullptr;
    job.residual = context.inputs.size() > 3 ? context.inputs[3].f32() : nullptr;
    unsigned char* scratch = context.scratch;
    job.q = reinterpret_cast<int8_t*>(scratch);
    scratch += round64(static_cast<size_t>(rows) * q_stride_);
    job.scale = reinterpret_cast<float*>(scratch);
    scratch += round64(static_cast<size_t>(rows) * sizeof(float));
    job.sum = reinterpret_cast<int32_t*>(scratch);
    return job;
  }

  void quantize(const RunContext& context, const Job& job, int begin, int count) const {
    const size_t first = static_cast<size_t>(begin);
    context.kernels->quantize_rows(job.x + first * k_, k_, count, k_, job.q + first * q_stride_, q_stride_,
                                   job.scale + first, job.sum + first * (q_stride_ / kGroup));
  }

  void multiply(const RunContext& context, const Job& job, int row, int rows, int panel, int panels) const {
    const Kernels& kernels = *context.kernels;
    const size_t first = static_cast<size_t>(row), out = static_cast<size_t>(panel) * kPanel;
    const int n = std::min(panels * kPanel, outputs_ - panel * kPanel);
    Epilogue epilogue;
    epilogue.activation = activation_;
    if (job.bias != nullptr) epilogue.bias = job.bias + out;
    if (job.residual != nullptr) epilogue.residual = job.residual + first * outputs_ + out;
    epilogue.residual_stride = outputs_;
    const float* x = job.x + first * k_;
    float* y = job.y + first * outputs_ + out;
    const QuantizedRows q{job.q + first * q_stride_, q_stride_, job.scale + first,
                          job.sum + first * (q_stride_ / kGroup)};
    const uint8_t* data = weight_->data;
    const size_t tile = static_cast<size_t>(panel), k = static_cast<size_t>(k_), all = static_cast<size_t>(panels_);
    switch (weight_->encoding) {
      case Encoding::kGemmF32:
        kernels.gemm_f32(x, k_, rows, k_, reinterpret_cast<const float*>(data) + tile * k * kPanel, n, &epilogue, y,
                         outputs_);
        break;
      case Encoding::kGemmF16:
        kernels.gemm_f16(x, k_, rows, k_, reinterpret_cast<const uint16_t*>(data) + tile * k * kPanel, n, &epilogue, y,
                         outputs_);
        break;
      case Encoding::kGemmI8:
        kernels.gemm_i8(&q, rows, k_, data + all * 64 + tile * ((k + 3) / 4) * 64,
                        reinterpret_cast<const float*>(data) + tile * kPanel, n, &epilogue, y, outputs_);
        break;
      default: {
        const size_t groups = (k + kGroup - 1) / kGroup;
        kernels.gemm_i4(&q, rows, k_, data + round64(all * groups * kPanel * 2) + tile * groups * 256,
                        reinterpret_cast<const uint16_t*>(data) + tile * groups * kPanel, n, &epilogue, y, outputs_);
      }
    }
  }

  Activation activation_;
  const TensorEntry* weight_;
  int outputs_ = 0, k_ = 0, panels_ = 0, q_stride_ = 0;
  bool quantized_ = false;
};

}  // namespace

std::unique_ptr<Op> make_linear(const NodeSpec&, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<Linear>(attributes, inputs);
}

}  // namespace pocketuni
