// depthwise_conv1d, depthwise_conv2d: a convolution of each channel alone, over time or over pictures.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/conv_window.h"

namespace pocketuni {
namespace {

constexpr int64_t kTapsOfPass = 4;  // take as long as passing over a number

class Depthwise : public Op {
 public:
  Depthwise(Attributes& attributes, const PictureGeometry& geometry, int64_t channels, bool picture)
      : geometry_(geometry),
        channels_(channels),
        picture_(picture),
        activation_(parse_activation(attributes.text("activation", "none"))) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    picture_ ? check_picture(in[0], channels_) : check_conv_input(in[0], channels_);
    check_optional(in, 2, {channels_}, "bias");
    Shape y = in[0].type.shape;
    if (picture_) y[1] = geometry_.down.output_rows(y[1]);
    y[y.size() - 2] = geometry_.across.output_rows(y[y.size() - 2]);
    return {{DType::kF32, y}};
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    return axes[0] == 1 && !picture_ ? geometry_.across.time_map() : TimeMap::batch_if(axes[0] == 0);
  }

 protected:
  /// The work of a result of all channels, in numbers passed over.
  int64_t cost(int64_t channels) const { return channels * geometry_.down.taps * geometry_.across.taps / kTapsOfPass; }
  Epilogue epilogue(const RunContext& context, int64_t channel) const {
    Epilogue e;
    e.bias = optional_data(context, 2);
    if (e.bias != nullptr) e.bias += channel;
    e.activation = activation_;
    return e;
  }

  PictureGeometry geometry_;
  int64_t channels_;
  bool picture_;
  Activation activation_;
};

class DepthwiseF32 final : public Depthwise {
 public:
  using Depthwise::Depthwise;

  size_t scratch_bytes(const Inputs&, int) const override { return static_cast<size_t>(channels_) * sizeof(float); }

  void run(RunContext& context) const override {
    const Extent x = Extent::of(context.inputs[0].type.shape), y = Extent::of(context.outputs[0].type.shape);
    std::memset(context.scratch, 0, static_cast<size_t>(channels_) * sizeof(float));
    const Epilogue e = epilogue(context, 0);
    const int64_t lines = y.batch * y.height;
    if (lines == 1) {
      context.pool->parallel_parts(y.width, cost(channels_), [&](int64_t begin, int64_t count, int) {
        run_line(context, x, y, e, 0, begin, count);
      });
    } else {
      context.pool->parallel_parts(lines, y.width * cost(channels_), [&](int64_t begin, int64_t count, int) {
        for (int64_t line = begin; line < begin + count; ++line) run_line(context, x, y, e, line, 0, y.width);
      });
    }
  }

 private:
  // Pixels [begin, begin + count) of a line of the results in the batch.
  void run_line(const RunContext& context, const Extent& x, const Extent& y, const Epilogue& epilogue, int64_t line,
                int64_t begin, int64_t count) const {
    ptrdiff_t line_rows[PictureGeometry::kMostLines];
    geometry_.lines(line % y.height, x.height, x.width, line_rows);
    ConvWindow window = geometry_.across.window(context.chunk, begin, x.width, context.scratch);
    window.lines = static_cast<int>(geometry_.down.taps), window.line_rows = line_rows;
    context.kernels->depthwise_f32(
        context.inputs[0].f32() + line / y.height * x.pixels() * channels_, channels_, &window, static_cast<int>(count),
        static_cast<int>(channels_), context.inputs[1].f32(), &epilogue,
        static_cast<float*>(context.outputs[0].data) + (line * y.width + begin) * channels_, channels_);
  }
};

// Panels of 16 channels go one by one: their lines are rounded into a ring of as many as a window spans, in the quads
// that the kernel multiplies.
class DepthwiseInt8 final : public Depthwise {
 public:
  DepthwiseInt8(Attributes& attributes, const PictureGeometry& geometry, const TensorEntry* weight)
      : Depthwise(attributes, geometry, weight->dims[0], true),
        weight_(weight),
        panels_((channels_ + kPanel - 1) / kPanel),
        quads_((geometry.across.taps + 3) / 4) {}

  size_t scratch_bytes(const Inputs& in, int threads) const override {
    const Extent x = Extent::of(in[0].type.shape);
    return static_cast<size_t>(x.batch * panels_) * sizeof(DepthwiseScales) +
           static_cast<size_t>(threads) * thread_bytes(x);
  }

  void run(RunContext& context) const override {
    const Extent x = Extent::of(context.inputs[0].type.shape), y = Extent::of(context.outputs[0].type.shape);
    if (y.pixels() == 0) return;
    // A task for each panel of a picture, or for bands of its lines where those are too few for the threads.
    const int64_t planes = x.batch * panels_, threads = context.pool->size();
    const int64_t wanted = threads == 1 ? 1 : std::min(y.height, (kTasksOfThread * threads + planes - 1) / planes);
    const int64_t share = (y.height + wanted - 1) / wanted, bands = (y.height + share - 1) / share;
    if (bands > 1) {
      context.pool->parallel_parts(planes, x.pixels() * kPanel, [&](int64_t begin, int64_t count, int) {
        for (int64_t plane = begin; plane < begin + count; ++plane) find_scales(context, x, plane);
      });
    }
    const int64_t band_cost = share * y.width * cost(kPanel);
    context.pool->parallel_parts(planes * bands, band_cost, [&](int64_t begin, int64_t count, int thread) {
      for (int64_t i = begin; i < begin + count; ++i) {
        const int64_t plane = i / bands, first = i % bands * share;
        if (bands == 1) find_scales(context, x, plane);
        convolve(context, x, y, plane, first, std::min(share, y.height - first), thread);
      }
    });
  }

 private:
  static constexpr int64_t kTasksOfThread = 2;

  size_t weight_bytes() const { return 64 + static_cast<size_t>(geometry_.down.taps * quads_) * 64; }
  int64_t ring_lines(const Extent& x) const { return std::min(x.height, geometry_.down.span()); }
  /// Quads of a line of x that a line of results reads.
  int64_t line_quads(const Extent& x) const {
    const ConvGeometry& g = geometry_.across;
    const int64_t rows = g.output_rows(x.width);
    return rows == 0 ? 0 : (rows - 1) * g.stride + (4 * quads_ - 1) * g.dilation + 1;
  }
  size_t thread_bytes(const Extent& x) const {
    return weight_bytes() + static_cast<size_t>(ring_lines(x) + 1) * static_cast<size_t>(line_quads(x)) * 64;
  }

  int channels_of(int64_t plane) const {
    return static_cast<int>(std::min<int64_t>(kPanel, channels_ - plane % panels_ * kPanel));
  }
  DepthwiseScales& scales_of(const RunContext& context, int64_t plane) const {
    return reinterpret_cast<DepthwiseScales*>(context.scratch)[plane];
  }
  // The first pixel of a plane in a batch [batch, pixels, channels].
  int64_t start_of(int64_t plane, const Extent& extent) const {
    return plane / panels_ * extent.pixels() * channels_ + plane % panels_ * kPanel;
  }

  void find_scales(const RunContext& context, const Extent& x, int64_t plane) const {
    const float* scales = reinterpret_cast<const float*>(weight_->data) + plane % panels_ * kPanel;
    context.kernels->depthwise_scales(context.inputs[0].f32() + start_of(plane, x), channels_, x.pixels(),
                                      channels_of(plane), scales, &scales_of(context, plane));
  }

  // Lines [first, first + count) of the results.
  void convolve(const RunContext& context, const Extent& x, const Extent& y, int64_t plane, int64_t first,
                int64_t count, int thread) const {
    const ConvGeometry &down = geometry_.down, &across = geometry_.across;
    const Kernels& kernels = *context.kernels;
    const int64_t channel = plane % panels_ * kPanel, panel_quads = (down.taps * across.taps + 3) / 4;
    uint8_t* weights = context.scratch + static_cast<size_t>(x.batch * panels_) * sizeof(DepthwiseScales) +
                       static_cast<size_t>(thread) * thread_bytes(x);
    kernels.depthwise_weights(weight_->data + (panels_ + plane % panels_ * panel_quads) * 64,
                              static_cast<int>(down.taps), static_cast<int>(across.taps), weights);

    // Lines of x as quads: one that is outside of the picture, then the ring.
    const int64_t quads = line_quads(x), ring = ring_lines(x);
    const auto slot = [&](int64_t index) { return weights + weight_bytes() + index * quads * 64; };
    const int dilation = static_cast<int>(across.dilation), channels = channels_of(plane);
    const int before = static_cast<int>(std::min(quads, across.pad_left));
    const int pixels = static_cast<int>(std::min(quads - before, x.width));
    const QuadLine line{before, pixels, static_cast<int>(quads) - before - pixels, dilation};
    const QuadLine outside{static_cast<int>(quads), 0, 0, dilation};
    const DepthwiseScales& scales = scales_of(context, plane);
    const float* from = context.inputs[0].f32() + start_of(plane, x);
    kernels.depthwise_round(from, channels_, channels, &outside, scales.inverse, slot(0));

    const uint8_t* lines[PictureGeometry::kMostLines];
    const QuadWindow window{lines, static_cast<int>(down.taps), static_cast<int>(quads_), 4 * across.dilation * 64,
                            across.stride * 64};
    const Epilogue e = epilogue(context, channel);
    float* to = static_cast<float*>(context.outputs[0].data) + start_of(plane, y) + first * y.width * channels_;
    int64_t next = 0;  // line of x to be rounded
    for (int64_t i = first; i < first + count; ++i, to += y.width * channels_) {
      const int64_t top = i * down.stride - down.pad_left, end = std::min(x.height, top + down.span());
      for (next = std::max(next, top); next < end; ++next) {
        kernels.depthwise_round(from + next * x.width * channels_, channels_, channels, &line, scales.inverse,
                                slot(1 + next % ring));
      }
      for (int64_t tap = 0; tap < down.taps; ++tap) {
        const int64_t at = top + tap * down.dilation;
        lines[tap] = slot(at >= 0 && at < x.height ? 1 + at % ring : 0) + 3 * across.dilation * 64;
      }
      kernels.depthwise_i8(&window, static_cast<int>(y.width), channels, weights, scales.scale, &e, to, channels_);
    }
  }

  const TensorEntry* weight_;
  int64_t panels_, quads_;  // quads: of a line of taps
};

}  // namespace

std::unique_ptr<Op> make_depthwise_conv(const NodeSpec& node, Attributes& attributes, const Inputs& inputs) {
  const bool picture = node.op == "depthwise_conv2d";
  const TensorEntry* weight = inputs[1].tensor;
  const bool int8 = picture && weight != nullptr && weight->encoding == Encoding::kGemmI8;  // [channels, taps]
  if (!int8) expect_float(inputs[1], "the weight");
  if (weight == nullptr || weight->dims.size() != 2) fail_argument("the weight is not a constant [taps, channels]");
  const int64_t taps = weight->dims[int8 ? 1 : 0];
  const PictureGeometry geometry =
      picture ? PictureGeometry::parse(attributes) : PictureGeometry{{}, ConvGeometry::parse(attributes, taps)};
  const int64_t expected = geometry.down.taps * geometry.across.taps;
  if (expected != taps) {
    fail_argument("the weight has " + std::to_string(taps) + " taps, the kernel " + std::to_string(expected));
  }
  if (int8) return std::make_unique<DepthwiseInt8>(attributes, geometry, weight);
  return std::make_unique<DepthwiseF32>(attributes, geometry, weight->dims[1], picture);
}

}  // namespace pocketuni
