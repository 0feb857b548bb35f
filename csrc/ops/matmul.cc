// matmul: the product of two activations, with broadcast leading dimensions.
#include <algorithm>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class MatMul final : public Op {
 public:
  explicit MatMul(Attributes& a)
      : transpose_b_(a.flag("transpose_b")), scale_(static_cast<float>(a.real("scale", 1.0))) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "a");
    expect_float(in[1], "b");
    const Sizes s = sizes(in[0].type.shape, in[1].type.shape);
    Shape out = s.lead;
    out.push_back(s.m);
    out.push_back(s.n);
    return {{DType::kF32, out}};
  }

  size_t scratch_bytes(const Inputs& in, int threads) const override {
    const Sizes s = sizes(in[0].type.shape, in[1].type.shape);
    return static_cast<size_t>(threads) * tile_bytes(s);
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    if (axes[0] == 0 && axes[1] == 0 && in[0].type.shape.size() > 2 && in[1].type.shape.size() > 2) {
      return TimeMap::batch_if(in[0].type.shape.size() == in[1].type.shape.size());
    }
    return TimeMap::rows_if(axes[1] < 0 && !is_last_axis(in[0], axes[0]));
  }

  void run(RunContext& context) const override {
    const Shape& a_shape = context.inputs[0].type.shape;
    const Shape& b_shape = context.inputs[1].type.shape;
    const Sizes s = sizes(a_shape, b_shape);
    const Shape a_lead(a_shape.begin(), a_shape.end() - 2), b_lead(b_shape.begin(), b_shape.end() - 2);
    const std::vector<int64_t> a_strides = broadcast_strides(a_lead, s.lead),
                               b_strides = broadcast_strides(b_lead, s.lead);
    context.pool->parallel(static_cast<int>(element_count(s.lead)), [&](int index, int thread) {
      int64_t a_index = 0, b_index = 0, rest = index;
      for (size_t i = s.lead.size(); i-- > 0;) {
        a_index += rest % s.lead[i] * a_strides[i];
        b_index += rest % s.lead[i] * b_strides[i];
        rest /= s.lead[i];
      }
      float* tiles = reinterpret_cast<float*>(context.scratch + static_cast<size_t>(thread) * tile_bytes(s));
      const float* b = context.inputs[1].f32() + b_index * s.k * s.n;
      const int k = static_cast<int>(s.k), n = static_cast<int>(s.n);
      context.kernels->pack_f32(b, transpose_b_ ? 1 : s.n, transpose_b_ ? s.k : 1, k, n, tiles);
      float* y = static_cast<float*>(context.outputs[0].data) + index * s.m * s.n;
      const Epilogue plain;
      context.kernels->gemm_f32(context.inputs[0].f32() + a_index * s.m * s.k, s.k, static_cast<int>(s.m), k, tiles, n,
                                &plain, y, s.n);
      if (scale_ != 1.0f) {
        context.kernels->unary_f32(Unary::kScale, y, y, static_cast<size_t>(s.m * s.n), scale_, 0.0f);
      }
    });
  }

 private:
  struct Sizes {
    Shape lead;
    int64_t m, k, n;
  };

  static size_t tile_bytes(const Sizes& s) {
    return ((static_cast<size_t>(s.n) + kPanel - 1) / kPanel * kPanel * static_cast<size_t>(s.k) * 4 + 63) / 64 * 64;
  }

  Sizes sizes(const Shape& a, const Shape& b) const {
    if (a.size() < 2 || b.size() < 2)
      fail_argument("a is " + shape_text(a) + ", b is " + shape_text(b) + ", expected matrices");
    const int64_t k = transpose_b_ ? b.back() : b[b.size() - 2], n = transpose_b_ ? b[b.size() - 2] : b.back();
    if (a.back() != k) fail_argument("a is " + shape_text(a) + " and b " + shape_text(b) + ": the inner sizes differ");
    if (a[a.size() - 2] > (1 << 30) || k > (1 << 30) || n > (1 << 30)) fail_argument("a matrix is too large");
    Sizes s{broadcast_shapes(Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2)), a[a.size() - 2], k, n};
    if (element_count(s.lead) > (1 << 30)) fail_argument("too many matrices");
    return s;
  }

  bool transpose_b_;
  float scale_;
};

}  // namespace

std::unique_ptr<Op> make_matmul(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<MatMul>(attributes);
}

}  // namespace pocketuni
