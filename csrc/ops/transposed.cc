// conv_transpose1d: by phases. Of stride S, rows u S .. u S + S - 1 of the uncut result read the same rows of x, so
// they are one row of a dense convolution with S times as many outputs, and nothing is added up behind it.
#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/error.h"
#include "ops/conv_window.h"

namespace pocketuni {
namespace {

int64_t in_range(Attributes& attributes, const char* name, int64_t fallback, int64_t low, int64_t high) {
  const int64_t value = attributes.integer(name, fallback);
  if (value < low || value > high) {
    fail_argument(std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(low) + " to " +
                  std::to_string(high));
  }
  return value;
}

class ConvTranspose1d final : public Op {
 public:
  ConvTranspose1d(Attributes& attributes, const Inputs& inputs)
      : taps_(in_range(attributes, "taps", 0, 1, 1 << 16)),
        stride_(in_range(attributes, "stride", 1, 1, 1 << 16)),
        phases_taps_((taps_ + stride_ - 1) / stride_),
        cut_left_(in_range(attributes, "cut_left", 0, 0, 1 << 20)),
        cut_right_(in_range(attributes, "cut_right", 0, taps_ - phases_taps_ * stride_, 1 << 20)),
        activation_(parse_activation(attributes.text("activation", "none"))),
        weight_(inputs[1].tensor) {
    if (weight_ == nullptr || weight_->encoding < Encoding::kGemmF32 || weight_->encoding > Encoding::kGemmI8) {
      fail_argument("the weight is not gemm_f32, gemm_f16 or gemm_i8");
    }
    if (weight_->dims[0] % stride_ != 0 || weight_->dims[1] % phases_taps_ != 0) {
      fail_argument("the weight is " + shape_text(weight_->dims) + ", expected multiples of the stride " +
                    std::to_string(stride_) + " and of " + std::to_string(phases_taps_) + " taps of a phase");
    }
    width_ = weight_->dims[0];
    outputs_ = width_ / stride_;
    channels_ = weight_->dims[1] / phases_taps_;
    quantized_ = weight_->encoding == Encoding::kGemmI8;
    if (quantized_ && channels_ % 4 != 0) {
      fail_argument("a gemm_i8 weight needs a multiple of 4 channels, got " + std::to_string(channels_) +
                    "; store it as gemm_f16");
    }
    q_stride_ = (channels_ + kGroup - 1) / kGroup * kGroup;
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    check_conv_input(in[0], channels_);
    check_optional(in, 2, {outputs_}, "bias");
    const Shape& x = in[0].type.shape;
    const int64_t rows = x[1] == 0 ? 0 : (x[1] - 1) * stride_ + taps_ - cut_left_ - cut_right_;
    return {{DType::kF32, {x[0], std::max<int64_t>(0, rows), outputs_}}};
  }

  size_t scratch_bytes(const Inputs& in, int) const override {
    const size_t rows = static_cast<size_t>(in[0].type.shape[0] * in[0].type.shape[1]);
    return zero_bytes() + 2 * width_bytes() + round64(rows * q_stride_) + round64(rows * 4) +
           round64(rows * (q_stride_ / kGroup) * 4);
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    if (axes[0] != 1) return TimeMap::batch_if(axes[0] == 0);
    // Where the end is cut by more than the last taps reach beyond a stride, rows wait until they are known to stay.
    const int64_t late = std::max<int64_t>(0, cut_right_ - (taps_ - stride_));
    return {TimeMap::kWindow, stride_, 1, cut_left_ - (phases_taps_ - 1) * stride_, cut_left_ + late};
  }

  void run(RunContext& context) const override {
    const int64_t length = context.inputs[0].type.shape[1], batch = context.inputs[0].type.shape[0];
    std::memset(context.scratch, 0, zero_bytes());
    float* bias = reinterpret_cast<float*>(context.scratch + zero_bytes());
    if (const float* given = optional_data(context, 2)) {
      for (int64_t phase = 0; phase < stride_; ++phase) std::copy_n(given, outputs_, bias + phase * outputs_);
    } else {
      bias = nullptr;
    }
    const QuantizedRows q = quantize(context, batch * length);
    for (int64_t b = 0; b < batch; ++b) one(context, q, b, bias);
  }

 private:
  size_t zero_bytes() const { return round64(std::max<size_t>(channels_ * sizeof(float), q_stride_)); }
  size_t width_bytes() const { return round64(static_cast<size_t>(width_) * sizeof(float)); }

  QuantizedRows quantize(const RunContext& context, int64_t rows) const {
    unsigned char* scratch = context.scratch + zero_bytes() + 2 * width_bytes();
    int8_t* q = reinterpret_cast<int8_t*>(scratch);
    float* scale = reinterpret_cast<float*>(scratch + round64(static_cast<size_t>(rows * q_stride_)));
    int32_t* sum = reinterpret_cast<int32_t*>(reinterpret_cast<unsigned char*>(scale) +
                                              round64(static_cast<size_t>(rows) * sizeof(float)));
    if (quantized_) {
      context.kernels->quantize_rows(context.inputs[0].f32(), channels_, static_cast<int>(rows),
                                     static_cast<int>(channels_), q, q_stride_, scale, sum);
    }
    return {q, q_stride_, scale, sum};
  }

  /// One entry of the batch: whole groups of S rows in place, those that are cut through scratch.
  void one(RunContext& context, const QuantizedRows& q, int64_t batch, const float* bias) const {
    const int64_t rows = context.outputs[0].type.shape[1];
    const int64_t first = (context.chunk != nullptr ? context.chunk->output_first : 0) + cut_left_;  // uncut
    const int64_t end = first + rows, from = (first + stride_ - 1) / stride_, to = end / stride_;
    float* y = context.outputs[0].f32() + batch * rows * outputs_;
    if (from > to) {  // inside one group
      edge(context, q, batch, bias, to, first, end, y);
      return;
    }
    if (first % stride_ != 0) edge(context, q, batch, bias, from - 1, first, from * stride_, y);
    if (end % stride_ != 0) {
      edge(context, q, batch, bias, to, to * stride_, end, y + (to * stride_ - first) * outputs_);
    }
    const int64_t share = context.pool->size() == 1 ? to - from : 16,
                  parts = share ? (to - from + share - 1) / share : 0;
    context.pool->parallel(static_cast<int>(parts), [&](int index, int) {
      const int64_t row = from + index * share;
      groups(context, q, batch, bias, row, std::min(share, to - row), y + (row * stride_ - first) * outputs_);
    });
  }

  /// Rows [first, end) of the uncut result, which lie in group `row`.
  void edge(const RunContext& context, const QuantizedRows& q, int64_t batch, const float* bias, int64_t row,
            int64_t first, int64_t end, float* y) const {
    float* group = reinterpret_cast<float*>(context.scratch + zero_bytes() + width_bytes());
    groups(context, q, batch, bias, row, 1, group);
    std::copy_n(group + (first - row * stride_) * outputs_, (end - first) * outputs_, y);
  }

  void groups(const RunContext& context, const QuantizedRows& all, int64_t batch, const float* bias, int64_t row,
              int64_t count, float* y) const {
    const Kernels& kernels = *context.kernels;
    const int64_t length = context.inputs[0].type.shape[1];
    const int64_t input_first = context.chunk != nullptr ? context.chunk->input_first : 0;
    const ConvWindow window{row - (phases_taps_ - 1) - input_first, length,         1, 1,
                            static_cast<int>(phases_taps_),         context.scratch};
    Epilogue epilogue;
    epilogue.bias = bias;
    epilogue.activation = activation_;
    const float* x = context.inputs[0].f32() + batch * length * channels_;
    const int rows = static_cast<int>(count), channels = static_cast<int>(channels_), n = static_cast<int>(width_);
    const uint8_t* data = weight_->data;
    if (weight_->encoding == Encoding::kGemmF32) {
      kernels.conv_f32(x, channels_, &window, rows, channels, reinterpret_cast<const float*>(data), n, &epilogue, y,
                       width_);
    } else if (weight_->encoding == Encoding::kGemmF16) {
      kernels.conv_f16(x, channels_, &window, rows, channels, reinterpret_cast<const uint16_t*>(data), n, &epilogue, y,
                       width_);
    } else {
      const int64_t at = batch * length;
      const QuantizedRows q{all.q + at * q_stride_, q_stride_, all.scale + at, all.sum + at * (q_stride_ / kGroup)};
      kernels.conv_i8(&q, &window, rows, channels, data + (width_ + kPanel - 1) / kPanel * 64,
                      reinterpret_cast<const float*>(data), n, &epilogue, y, width_);
    }
  }

  int64_t taps_, stride_;
  int64_t phases_taps_;  // of a phase
  int64_t cut_left_, cut_right_;
  Activation activation_;
  const TensorEntry* weight_;
  int64_t width_ = 0, outputs_ = 0, channels_ = 0, q_stride_ = 0;  // width: outputs of all phases
  bool quantized_ = false;
};

}  // namespace

std::unique_ptr<Op> make_conv_transpose1d(const NodeSpec&, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<ConvTranspose1d>(attributes, inputs);
}

}  // namespace pocketuni
