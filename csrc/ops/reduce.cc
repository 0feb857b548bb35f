// Reductions of float tensors over any axes, and argmax.
#include <algorithm>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class ReduceOp final : public Op {
 public:
  ReduceOp(const std::string& op, Attributes& a)
      : mean_(op == "reduce_mean"), axes_(a.list("axes")), keep_(a.flag("keepdims")) {
    if (op == "reduce_max") kind_ = Reduce::kMax;
    if (op == "reduce_min") kind_ = Reduce::kMin;
    if (op == "reduce_prod") kind_ = Reduce::kProd;
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    const Shape& x = in[0].type.shape;
    const std::vector<bool> reduced = chosen_axes(axes_, x.size());
    Shape y;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!reduced[i]) y.push_back(x[i]);
      if (reduced[i] && keep_) y.push_back(1);
    }
    return {{DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs& in, int threads) const override {
    const std::vector<Run> runs = runs_of(in[0].type.shape);
    int64_t between = 0;
    for (size_t i = 0; i + 1 < runs.size(); ++i) between += runs[i].results();
    return static_cast<size_t>(threads * kLanes * kColumns + between) * sizeof(float);
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    return TimeMap::rows_if(axes[0] < 0 || !chosen_axes(axes_, in[0].type.shape.size())[static_cast<size_t>(axes[0])]);
  }

  void run(RunContext& context) const override {
    float* scratch = reinterpret_cast<float*>(context.scratch);
    float* between = scratch + context.pool->size() * kLanes * kColumns;
    const float* x = context.inputs[0].f32();
    const std::vector<Run> runs = runs_of(context.inputs[0].type.shape);
    int64_t count = 1;
    for (size_t i = 0; i < runs.size(); ++i) {
      float* y = i + 1 < runs.size() ? between : context.outputs[0].f32();
      runs[i].inner == 1 ? rows(context, runs[i], x, y) : columns(context, runs[i], x, y, scratch);
      x = y;
      between += runs[i].results();
      count *= runs[i].count;
    }
    if (!mean_) return;
    float* y = context.outputs[0].f32();
    for (int64_t i = 0; i < runs.back().results(); ++i) y[i] /= static_cast<float>(count);
  }

 private:
  static constexpr int64_t kLanes = 16;     // of the kernel's sums
  static constexpr int64_t kColumns = 256;  // at once: their lanes stay in the cache

  /// Axes that follow each other: [outer, count, inner] becomes [outer, inner].
  struct Run {
    int64_t outer, count, inner;
    int64_t results() const { return element_count({outer, inner}); }
  };

  /// The last one first, each of what the one before leaves; at least one.
  std::vector<Run> runs_of(const Shape& shape) const {
    const std::vector<bool> reduced = chosen_axes(axes_, shape.size());
    std::vector<Run> runs;
    int64_t inner = 1;
    for (size_t i = shape.size(); i > 0;) {
      if (!reduced[i - 1]) {
        inner = element_count({inner, shape[--i]});
        continue;
      }
      int64_t count = 1;
      while (i > 0 && reduced[i - 1]) count = element_count({count, shape[--i]});
      const Shape before(shape.begin(), shape.begin() + static_cast<int64_t>(i));
      runs.push_back({element_count(before), count, inner});
    }
    if (runs.empty()) runs.push_back({inner, 1, 1});
    return runs;
  }

  void rows(RunContext& context, const Run& run, const float* x, float* y) const {
    context.pool->parallel_parts(run.outer, run.count, [&](int64_t begin, int64_t some, int) {
      for (int64_t o = begin; o < begin + some; ++o) {
        y[o] = context.kernels->reduce_f32(kind_, x + o * run.count, static_cast<size_t>(run.count));
      }
    });
  }

  /// Sums and products in the kernel's order, so that a single column has the same bits: every sixteenth row, then the
  /// sixteen, upper half onto lower.
  void columns(RunContext& context, const Run& run, const float* x, float* y, float* scratch) const {
    constexpr Binary kSteps[] = {Binary::kAdd, Binary::kMax, Binary::kMin, Binary::kMul};
    const Binary step = kSteps[static_cast<size_t>(kind_)];
    const float start = context.kernels->reduce_f32(kind_, x, 0);
    const int64_t lanes = kind_ == Reduce::kMax || kind_ == Reduce::kMin ? 1 : kLanes;
    const int64_t parts = (run.inner + kColumns - 1) / kColumns;
    const int64_t cost = run.count * std::min(run.inner, kColumns);
    context.pool->parallel_parts(run.outer * parts, cost, [&](int64_t begin, int64_t some, int thread) {
      float* sums = scratch + thread * kLanes * kColumns;
      for (int64_t task = begin; task < begin + some; ++task) {
        const int64_t o = task / parts, first = task % parts * kColumns, n = std::min(kColumns, run.inner - first);
        const float* row = x + o * run.count * run.inner + first;
        std::fill_n(sums, lanes * n, start);
        for (int64_t i = 0; i < run.count; ++i, row += run.inner) {
          float* lane = sums + i % lanes * n;
          context.kernels->binary_f32(step, lane, 1, row, 1, lane, static_cast<size_t>(n));
        }
        for (int64_t half = lanes / 2; half > 0; half /= 2) {
          context.kernels->binary_f32(step, sums, 1, sums + half * n, 1, sums, static_cast<size_t>(half * n));
        }
        std::copy_n(sums, n, y + o * run.inner + first);
      }
    });
  }

  Reduce kind_ = Reduce::kSum;
  bool mean_;
  std::vector<int64_t> axes_;
  bool keep_;
};

// Of equal numbers the first counts, or the last; NaN counts as larger than all others.
class ArgMax final : public Op {
 public:
  explicit ArgMax(Attributes& a) : axis_(a.integer("axis")), keep_(a.flag("keepdims")), last_(a.flag("last")) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    Shape y = in[0].type.shape;
    const size_t axis = normalize_axis(axis_, y.size());
    if (y[axis] == 0 && element_count(y) == 0) fail_argument("the axis has no elements");
    keep_ ? void(y[axis] = 1) : void(y.erase(y.begin() + static_cast<int64_t>(axis)));
    return {{DType::kI64, y}};
  }

  void run(RunContext& context) const override {
    const Shape& x = context.inputs[0].type.shape;
    const size_t axis = normalize_axis(axis_, x.size());
    int64_t inner = 1;
    for (size_t i = axis + 1; i < x.size(); ++i) inner *= x[i];
    const int64_t outputs = element_count(context.outputs[0].type.shape);
    for (int64_t o = 0; o < outputs; ++o) {
      const float* from = context.inputs[0].f32() + o / inner * x[axis] * inner + o % inner;
      int64_t best = 0;
      for (int64_t i = 1; i < x[axis]; ++i) {
        const float value = from[i * inner], largest = from[best * inner];
        if (value > largest || (last_ && value == largest) || (value != value && (last_ || largest == largest)))
          best = i;
      }
      static_cast<int64_t*>(context.outputs[0].data)[o] = best;
    }
  }

 private:
  int64_t axis_;
  bool keep_, last_;
};

}  // namespace

std::unique_ptr<Op> make_argmax(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<ArgMax>(attributes);
}

std::unique_ptr<Op> make_reduce(const NodeSpec& node, Attributes& attributes, const Inputs&) {
  return std::make_unique<ReduceOp>(node.op, attributes);
}

}  // namespace pocketuni
