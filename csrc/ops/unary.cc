// Elementwise functions of one float tensor, and logical not.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class UnaryOp final : public Op {
 public:
  UnaryOp(Unary op, float alpha, float beta) : op_(op), alpha_(alpha), beta_(beta) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    return {in[0].type};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    const int64_t count = element_count(context.inputs[0].type.shape);
    const float* x = context.inputs[0].f32();
    float* y = context.outputs[0].f32();
    context.pool->parallel_parts(count, 1, [&](int64_t begin, int64_t some, int) {
      context.kernels->unary_f32(op_, x + begin, y + begin, static_cast<size_t>(some), alpha_, beta_);
    });
  }

 private:
  Unary op_;
  float alpha_, beta_;
};

class Not final : public Op {
 public:
  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_plain(in[0], "x");
    if (in[0].type.dtype != DType::kBool) fail_argument("x is not bool");
    return {in[0].type};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    const uint8_t* x = static_cast<const uint8_t*>(context.inputs[0].data);
    uint8_t* y = static_cast<uint8_t*>(context.outputs[0].data);
    const int64_t count = element_count(context.inputs[0].type.shape);
    for (int64_t i = 0; i < count; ++i) y[i] = x[i] == 0;
  }
};

struct Name {
  const char* name;
  Unary op;
};

const Name kNames[] = {
    {"relu", Unary::kRelu},
    {"silu", Unary::kSilu},
    {"tanh", Unary::kTanh},
    {"sigmoid", Unary::kSigmoid},
    {"erf", Unary::kErf},
    {"exp", Unary::kExp},
    {"log", Unary::kLog},
    {"sqrt", Unary::kSqrt},
    {"rsqrt", Unary::kRsqrt},
    {"neg", Unary::kNeg},
    {"abs", Unary::kAbs},
    {"reciprocal", Unary::kReciprocal},
    {"sin", Unary::kSin},
    {"cos", Unary::kCos},
    {"floor", Unary::kFloor},
    {"ceil", Unary::kCeil},
    {"round", Unary::kRound},
    {"softplus", Unary::kSoftplus},
    {"elu", Unary::kElu},
    {"leaky_relu", Unary::kLeakyRelu},
    {"hard_sigmoid", Unary::kHardSigmoid},
    {"hard_swish", Unary::kHardSwish},
    {"mish", Unary::kMish},
    {"clip", Unary::kClip},
};

}  // namespace

std::unique_ptr<Op> make_unary(const NodeSpec& node, Attributes& a, const Inputs&) {
  if (node.op == "gelu") {
    return std::make_unique<UnaryOp>(a.flag("approximate") ? Unary::kGeluTanh : Unary::kGelu, 0.0f, 0.0f);
  }
  double alpha = 0, beta = 0;
  const double infinity = std::numeric_limits<double>::infinity();
  if (node.op == "elu" || node.op == "leaky_relu" || node.op == "hard_sigmoid") alpha = a.real("alpha");
  if (node.op == "hard_sigmoid") beta = a.real("beta");
  if (node.op == "clip") alpha = a.real("min", -infinity), beta = a.real("max", infinity);
  for (const Name& entry : kNames) {
    if (node.op == entry.name) {
      return std::make_unique<UnaryOp>(entry.op, static_cast<float>(alpha), static_cast<float>(beta));
    }
  }
  fail_argument("no such function");
}

std::unique_ptr<Op> make_not(const NodeSpec&, Attributes&, const Inputs&) { return std::make_unique<Not>(); }

}  // namespace pocketuni
