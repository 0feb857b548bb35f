// conv1d, conv2d: a dense or grouped convolution over time or pictures, channels last, without an im2col buffer.
#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/error.h"
#include "ops/conv_weight.h"
#include "ops/conv_window.h"

namespace pocketuni {
namespace {

constexpr int kBlockRows = 16;          // rows at a time where outputs of a group do not start at a panel
constexpr int64_t kTasksOfThread = 16;  // enough for the last ones to even out

Unary unary_of(Activation activation) { return static_cast<Unary>(static_cast<int>(activation) - 1); }
static_assert(static_cast<int>(Unary::kSigmoid) == static_cast<int>(Activation::kSigmoid) - 1, "the same order");

class Conv final : public Op {
 public:
  Conv(Attributes& attributes, const Inputs& inputs, bool picture)
      : picture_(picture),
        geometry_(picture ? PictureGeometry::parse(attributes)
                          : PictureGeometry{{}, ConvGeometry::parse(attributes, attributes.integer("taps"))}),
        groups_(attributes.integer("groups", 1)),
        activation_(parse_activation(attributes.text("activation", "none"))),
        weight_(inputs[1].tensor) {
    outputs_ = weight_.outputs();
    const int64_t taps = geometry_.down.taps * geometry_.across.taps;
    if (weight_.inputs() % taps != 0) {
      fail_argument("the weight is " + shape_text(inputs[1].tensor->dims) + ", which does not divide into " +
                    std::to_string(taps) + " taps");
    }
    channels_ = weight_.inputs() / taps;
    if (groups_ < 1 || groups_ > 65536 || outputs_ % groups_ != 0) {
      fail_argument("groups is " + std::to_string(groups_) + ", expected a divisor of the " + std::to_string(outputs_) +
                    " outputs");
    }
    quantized_ = weight_.encoding() == Encoding::kGemmI8;
    if (quantized_ && channels_ % 4 != 0) {
      fail_argument("a gemm_i8 or gemm_i4 weight needs a multiple of 4 channels per group, got " +
                    std::to_string(channels_) + "; store it as gemm_f16");
    }
    q_stride_ = (channels_ + kGroup - 1) / kGroup * kGroup;
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    picture_ ? check_picture(in[0], channels_ * groups_) : check_conv_input(in[0], channels_ * groups_);
    const Shape& x = in[0].type.shape;
    Shape y{x[0], geometry_.across.output_rows(x[x.size() - 2]), outputs_};
    if (picture_) y.insert(y.begin() + 1, geometry_.down.output_rows(x[1]));
    check_optional(in, 2, {outputs_}, "bias");
    check_optional(in, 3, y, "residual");
    return {{DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs& in, int threads) const override {
    const Extent x = Extent::of(in[0].type.shape);
    const size_t rows = static_cast<size_t>(x.batch * x.pixels() * groups_);
    size_t bytes = zero_bytes() + static_cast<size_t>(threads) * block_bytes();
    if (quantized_) bytes += round64(rows * q_stride_) + round64(rows * 4) + round64(rows * (q_stride_ / kGroup) * 4);
    return bytes;
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    return axes[0] == 1 && !picture_ ? geometry_.across.time_map() : TimeMap::batch_if(axes[0] == 0);
  }

  void run(RunContext& context) const override {
    const Job job = bind(context);
    std::memset(context.scratch, 0, zero_bytes());
    const int64_t rows = job.to.width, lines = job.to.batch * job.to.height, threads = context.pool->size();
    const double work = static_cast<double>(lines * rows) * static_cast<double>(outputs_ * weight_.inputs());
    if (quantized_) quantize(context, job);
    // Blocks of rows where there are many, else blocks of outputs: weights are then read once.
    const int64_t pairs = lines * groups_, panels = (outputs_ / groups_ + kPanel - 1) / kPanel;
    const bool by_rows = rows >= 24 * threads || !aligned();
    const int64_t wanted = work < 262144 || threads == 1 ? 1 : (2 * threads + pairs - 1) / pairs;  // parts of a pair
    const int64_t units = by_rows ? rows : panels;
    const int64_t share = std::max<int64_t>(1, (units + wanted - 1) / wanted), parts = (units + share - 1) / share;
    const auto task = [&](int index, int thread) {
      const int64_t pair = index / parts, begin = index % parts * share, count = std::min(share, units - begin);
      const Part part{pair / groups_,         pair % groups_,      by_rows ? begin : 0,
                      by_rows ? count : rows, by_rows ? 0 : begin, by_rows ? panels : count};
      aligned() ? multiply(context, job, part) : multiply_unaligned(context, job, part, thread);
    };
    if (parts * pairs == 1 || work < 262144) {
      for (int64_t i = 0; i < parts * pairs; ++i) task(static_cast<int>(i), 0);
    } else {
      // Short lines several at a time: to take one costs as much as some of them do.
      const int64_t tasks = parts * pairs, some = (tasks + kTasksOfThread * threads - 1) / (kTasksOfThread * threads);
      context.pool->parallel(static_cast<int>((tasks + some - 1) / some), [&](int index, int thread) {
        for (int64_t i = index * some; i < std::min(tasks, (index + 1) * some); ++i) task(static_cast<int>(i), thread);
      });
    }
  }

 private:
  struct Job {
    const float *x, *bias, *residual;
    float* y;
    Extent from, to;
    int64_t all;    // pixels (rows of time) of x in the batch
    int8_t* q;      // [group][all][q_stride]
    float* scale;   // [group][all]
    int32_t* sum;   // [group][all][q_stride / 32]
    float* blocks;  // [thread][kBlockRows][outputs of the panels that a group touches]
  };
  struct Part {
    int64_t line, group, row, rows, panel, panels;  // line: of the results in the batch
  };

  bool aligned() const { return groups_ == 1 || outputs_ / groups_ % kPanel == 0; }
  size_t zero_bytes() const { return round64(std::max<size_t>(channels_ * sizeof(float), q_stride_)); }
  size_t block_bytes() const {
    return aligned() ? 0 : kBlockRows * (round64(outputs_ / groups_ * sizeof(float)) + 128);
  }

  Job bind(const RunContext& context) const {
    Job job{};
    job.x = context.inputs[0].f32();
    job.y = static_cast<float*>(context.outputs[0].data);
    job.bias = optional_data(context, 2);
    job.residual = optional_data(context, 3);
    job.from = Extent::of(context.inputs[0].type.shape), job.to = Extent::of(context.outputs[0].type.shape);
    job.all = job.from.batch * job.from.pixels();
    unsigned char* scratch = context.scratch + zero_bytes();
    job.blocks = reinterpret_cast<float*>(scratch);
    scratch += static_cast<size_t>(context.pool->size()) * block_bytes();
    const size_t total = static_cast<size_t>(job.all * groups_);
    job.q = reinterpret_cast<int8_t*>(scratch);
    scratch += round64(total * q_stride_);
    job.scale = reinterpret_cast<float*>(scratch);
    job.sum = reinterpret_cast<int32_t*>(scratch + round64(total * sizeof(float)));
    return job;
  }

  // Every row once, and every group of it with a scale of its own.
  void quantize(const RunContext& context, const Job& job) const {
    context.pool->parallel_parts(job.all, channels_ * groups_, [&](int64_t begin, int64_t count, int) {
      for (int64_t group = 0; group < groups_; ++group) {
        const int64_t at = group * job.all + begin;
        context.kernels->quantize_rows(job.x + begin * channels_ * groups_ + group * channels_, channels_ * groups_,
                                       static_cast<int>(count), static_cast<int>(channels_), job.q + at * q_stride_,
                                       q_stride_, job.scale + at, job.sum + at * (q_stride_ / kGroup));
      }
    });
  }

  // Outputs of the panels [panel, ...) for rows of a line, reading the channels of a group.
  void kernel(const RunContext& context, const Job& job, const Part& part, int64_t panel, int64_t n,
              const Epilogue& epilogue, float* y, int64_t y_stride) const {
    const Kernels& kernels = *context.kernels;
    ptrdiff_t line_rows[PictureGeometry::kMostLines];
    geometry_.lines(part.line % job.to.height, job.from.height, job.from.width, line_rows);
    ConvWindow window = geometry_.across.window(context.chunk, part.row, job.from.width, context.scratch);
    window.lines = static_cast<int>(geometry_.down.taps), window.line_rows = line_rows;
    const int64_t entry = part.line / job.to.height * job.from.pixels();
    const int rows = static_cast<int>(part.rows), channels = static_cast<int>(channels_), count = static_cast<int>(n);
    const int64_t k = weight_.inputs(), x_stride = channels_ * groups_;
    const float* x = job.x + entry * x_stride + part.group * channels_;
    if (weight_.encoding() != Encoding::kGemmI8) {
      const Rows some{x, x_stride, window, channels, rows, panel, count, epilogue, y, y_stride};
      return joins_taps() ? multiply_joined(kernels, some) : multiply_floats(kernels, some);
    }
    const int64_t at = part.group * job.all + entry, panels = (outputs_ + kPanel - 1) / kPanel;
    const QuantizedRows q{job.q + at * q_stride_, q_stride_, job.scale + at, job.sum + at * (q_stride_ / kGroup)};
    const uint8_t* weight = weight_.data(kernels);
    kernels.conv_i8(&q, &window, rows, channels, weight + panels * 64 + panel * (k / 4) * 64,
                    reinterpret_cast<const float*>(weight) + panel * kPanel, count, &epilogue, y, y_stride);
  }

  /// Operands of a convolution with float weights.
  struct Rows {
    const float* x;
    int64_t x_stride;
    ConvWindow window;
    int channels, count;
    int64_t panel;
    int outputs;
    Epilogue epilogue;
    float* y;
    int64_t y_stride;

    Rows part(int64_t begin, int64_t end) const {
      Rows some = *this;
      some.window.first += begin * window.stride;
      some.count = static_cast<int>(end - begin);
      some.y += begin * y_stride;
      if (some.epilogue.residual != nullptr) some.epilogue.residual += begin * epilogue.residual_stride;
      return some;
    }
  };

  void multiply_floats(const Kernels& kernels, const Rows& r) const {
    const int64_t first = r.panel * weight_.inputs() * kPanel;
    if (r.count <= 0) return;
    if (weight_.encoding() == Encoding::kGemmF32) {
      kernels.conv_f32(r.x, r.x_stride, &r.window, r.count, r.channels,
                       reinterpret_cast<const float*>(weight_.data(kernels)) + first, r.outputs, &r.epilogue, r.y,
                       r.y_stride);
    } else {
      kernels.conv_f16(r.x, r.x_stride, &r.window, r.count, r.channels,
                       reinterpret_cast<const uint16_t*>(weight_.data(kernels)) + first, r.outputs, &r.epilogue, r.y,
                       r.y_stride);
    }
  }

  /// With few channels a tap is over before its loop pays. Taps side by side are contiguous in x and in the weight:
  /// where all of them lie inside, they are one tap of more channels, in the same order.
  bool joins_taps() const {
    return groups_ == 1 && channels_ < kPanel && geometry_.across.taps > 1 && geometry_.across.dilation == 1;
  }

  void multiply_joined(const Kernels& kernels, const Rows& r) const {
    const ConvWindow& w = r.window;
    const int64_t free = w.length - w.taps - w.first;  // how far the first row may move to the right
    const int64_t count = r.count, begin = std::clamp<int64_t>((w.stride - 1 - w.first) / w.stride, 0, count);
    const int64_t end = free < 0 ? begin : std::clamp<int64_t>(free / w.stride + 1, begin, count);
    multiply_floats(kernels, r.part(0, begin));
    multiply_floats(kernels, r.part(end, count));
    Rows inner = r.part(begin, end);
    inner.window.length -= w.taps - 1;
    inner.window.taps = 1;
    inner.channels *= w.taps;
    multiply_floats(kernels, inner);
  }

  void multiply(const RunContext& context, const Job& job, const Part& part) const {
    const int64_t share = outputs_ / groups_, first = part.group * share + part.panel * kPanel;
    const int64_t n = std::min(part.panels * kPanel, share - part.panel * kPanel);
    const int64_t at = (part.line * job.to.width + part.row) * outputs_ + first;
    Epilogue epilogue;
    epilogue.activation = activation_;
    epilogue.bias = job.bias != nullptr ? job.bias + first : nullptr;
    epilogue.residual = job.residual != nullptr ? job.residual + at : nullptr;
    epilogue.residual_stride = outputs_;
    kernel(context, job, part, first / kPanel, n, epilogue, job.y + at, outputs_);
  }

  // A group whose outputs begin or end inside a panel: whole panels into a block of rows, then what belongs to it.
  void multiply_unaligned(const RunContext& context, const Job& job, const Part& part, int thread) const {
    const int64_t share = outputs_ / groups_, first = part.group * share, panel = first / kPanel;
    const int64_t n = std::min(first + share, outputs_) - panel * kPanel, skip = first - panel * kPanel;
    float* block = reinterpret_cast<float*>(reinterpret_cast<unsigned char*>(job.blocks) +
                                            static_cast<size_t>(thread) * block_bytes());
    for (int64_t row = 0; row < part.rows; row += kBlockRows) {
      Part some = part;
      some.row += row, some.rows = std::min<int64_t>(kBlockRows, part.rows - row);
      kernel(context, job, some, panel, n, Epilogue{}, block, n);
      for (int64_t r = 0; r < some.rows; ++r) {
        const int64_t at = (part.line * job.to.width + some.row + r) * outputs_ + first;
        finish(context, block + r * n + skip, job.bias != nullptr ? job.bias + first : nullptr,
               job.residual != nullptr ? job.residual + at : nullptr, job.y + at, static_cast<size_t>(share));
      }
    }
  }

  void finish(const RunContext& context, float* x, const float* bias, const float* residual, float* y, size_t n) const {
    const Kernels& kernels = *context.kernels;
    if (bias != nullptr) kernels.binary_f32(Binary::kAdd, x, 1, bias, 1, x, n);
    if (activation_ != Activation::kNone) kernels.unary_f32(unary_of(activation_), x, x, n, 0.0f, 0.0f);
    if (residual != nullptr) {
      kernels.binary_f32(Binary::kAdd, x, 1, residual, 1, y, n);
    } else {
      std::memcpy(y, x, n * sizeof(float));
    }
  }

  bool picture_;
  PictureGeometry geometry_;
  int64_t groups_;
  Activation activation_;
  ConvWeight weight_;
  int64_t outputs_ = 0, channels_ = 0, q_stride_ = 0;  // channels: of one group
  bool quantized_ = false;
};

}  // namespace

std::unique_ptr<Op> make_conv(const NodeSpec& node, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<Conv>(attributes, inputs, node.op == "conv2d");
}

}  // namespace pocketuni
