// attention: scaled dot products of all heads, masked, over separate or packed q, k, v.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/buffer.h"
#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class Attention final : public Op {
 public:
  Attention(Attributes& a, const Inputs& inputs)
      : heads_(a.integer("heads")),
        kv_heads_(a.integer("kv_heads", heads_)),
        scale_(a.real("scale", 0)),
        causal_(a.flag("causal")),
        packed_(a.flag("packed")),
        int8_(a.flag("int8")) {
    if (heads_ < 1 || kv_heads_ < 1 || heads_ > 65536 || heads_ % kv_heads_ != 0) {
      fail_argument("heads must be a multiple of kv_heads");
    }
    mask_at_ = packed_ ? 1 : 3;
    if (inputs.size() > mask_at_ + 1 || inputs.size() < mask_at_) fail_argument("wrong number of operands");
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    const Geometry g = geometry(in);
    if (has_mask(in)) check_mask(in[mask_at_], g);
    return {{DType::kF32, {g.batch, g.tq, heads_ * g.d}}};
  }

  size_t scratch_bytes(const Inputs& in, int threads) const override {
    const Geometry g = geometry(in);
    size_t bytes = static_cast<size_t>(threads) * thread_bytes(g);
    if (has_mask(in)) bytes += round64(static_cast<size_t>(element_count(in[mask_at_].type.shape)) * sizeof(float));
    return bytes;
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override {
    bool batch =
        std::all_of(axes.begin(), axes.begin() + static_cast<ptrdiff_t>(mask_at_), [](int a) { return a == 0; });
    for (size_t i = mask_at_; i < axes.size(); ++i) batch = batch && axes[i] <= 0;
    return TimeMap::batch_if(batch);
  }

  void run(RunContext& context) const override {
    Geometry g = geometry(context.inputs[0].type.shape, packed_ ? Shape{} : context.inputs[1].type.shape,
                          packed_ ? Shape{} : context.inputs[2].type.shape);
    Mask mask;
    unsigned char* scratch = context.scratch;
    if (context.inputs.size() > mask_at_ && context.inputs[mask_at_].data != nullptr) {
      const Tensor& source = context.inputs[mask_at_];
      mask = prepare_mask(source, reinterpret_cast<float*>(scratch));
      scratch += round64(static_cast<size_t>(element_count(source.type.shape)) * sizeof(float));
    }
    // Fewer pairs than threads: split the queries too, at the price of arranging the keys once per part.
    const int64_t pairs = g.batch * heads_;
    const int64_t parts = pairs >= context.pool->size() ? 1 : std::min<int64_t>(context.pool->size(), (g.tq + 31) / 32);
    const int64_t share = (g.tq + parts - 1) / parts;
    context.pool->parallel(static_cast<int>(pairs * parts), [&](int index, int thread) {
      const int64_t pair = index / parts, begin = index % parts * share;
      if (begin >= g.tq) return;
      head(context, g, mask, pair / heads_, pair % heads_, begin, std::min(share, g.tq - begin),
           reinterpret_cast<float*>(scratch + static_cast<size_t>(thread) * thread_bytes(g)));
    });
  }

 private:
  struct Geometry {
    int64_t batch, tq, tk, d, dv;
  };
  struct Mask {
    const float* data = nullptr;
    int64_t batch_stride = 0, head_stride = 0, row_stride = 0;
  };

  bool has_mask(const Inputs& in) const { return in.size() > mask_at_ && in[mask_at_].present; }

  static size_t thread_bytes(const Geometry& g) {
    return round64(sizeof(float) *
                   attention_scratch_floats(static_cast<int>(g.tk), static_cast<int>(g.d), static_cast<int>(g.dv)));
  }

  Geometry geometry(const Inputs& in) const {
    for (size_t i = 0; i < mask_at_; ++i) expect_float(in[i], "q, k or v");
    return geometry(in[0].type.shape, packed_ ? Shape{} : in[1].type.shape, packed_ ? Shape{} : in[2].type.shape);
  }

  Geometry geometry(const Shape& q, const Shape& k, const Shape& v) const {
    const int64_t limit = 1 << 24;
    if (q.size() != 3 || q[1] > limit) fail_argument("q is " + shape_text(q) + ", expected [batch, time, width]");
    const int64_t width = packed_ ? heads_ + 2 * kv_heads_ : heads_;
    if (q[2] % width != 0) fail_argument("the width " + std::to_string(q[2]) + " does not divide into heads");
    Geometry g{q[0], q[1], q[1], q[2] / width, q[2] / width};
    if (packed_) return g;
    if (k.size() != 3 || v.size() != 3 || k[0] != q[0] || v[0] != q[0] || k[1] != v[1] || k[1] > limit ||
        k[2] != kv_heads_ * g.d || v[2] != k[2]) {
      fail_argument("k is " + shape_text(k) + " and v is " + shape_text(v) + ", which does not fit q " + shape_text(q));
    }
    g.tk = k[1];
    return g;
  }

  void check_mask(const InputInfo& mask, const Geometry& g) const {
    expect_plain(mask, "mask");
    const Shape& s = mask.type.shape;
    const bool rows = s.size() == 2 && s[0] == g.batch && s[1] == g.tk;
    const bool full = s.size() == 4 && (s[0] == g.batch || s[0] == 1) && (s[1] == heads_ || s[1] == 1) &&
                      (s[2] == g.tq || s[2] == 1) && s[3] == g.tk;
    if (!rows && !full) fail_argument("mask is " + shape_text(s) + ", which does not fit the scores");
  }

  // Float masks are used in place; of others, only the choice between 0 and -infinity remains, and nothing at all when
  // every key is attended.
  Mask prepare_mask(const Tensor& source, float* scratch) const {
    const Shape& s = source.type.shape;
    Mask mask;
    const int64_t tk = s.back();
    if (s.size() == 2) {
      mask.batch_stride = tk;
    } else {
      mask.row_stride = s[2] == 1 ? 0 : tk;
      mask.head_stride = s[1] == 1 ? 0 : s[2] * tk;
      mask.batch_stride = s[0] == 1 ? 0 : s[1] * s[2] * tk;
    }
    if (source.type.dtype == DType::kF32) {
      mask.data = source.f32();
      return mask;
    }
    const int64_t count = element_count(s);
    bool any = false;
    for (int64_t i = 0; i < count; ++i) {
      const bool attend = source.type.dtype == DType::kBool ? static_cast<const uint8_t*>(source.data)[i] != 0
                                                            : integer_at(source, i) != 0;
      scratch[i] = attend ? 0.0f : -std::numeric_limits<float>::infinity();
      any = any || !attend;
    }
    mask.data = any ? scratch : nullptr;
    return mask;
  }

  void head(const RunContext& context, const Geometry& g, const Mask& mask, int64_t batch, int64_t head, int64_t begin,
            int64_t count, float* scratch) const {
    const int64_t group = head / (heads_ / kv_heads_);
    AttentionArgs args{};
    if (packed_) {
      const int64_t width = (heads_ + 2 * kv_heads_) * g.d;
      const float* row = context.inputs[0].f32() + batch * g.tq * width;
      args.q = row + begin * width + head * g.d;
      args.k = row + (heads_ + group) * g.d;
      args.v = row + (heads_ + kv_heads_ + group) * g.d;
      args.q_stride = args.k_stride = args.v_stride = width;
    } else {
      args.q_stride = heads_ * g.d;
      args.k_stride = args.v_stride = kv_heads_ * g.d;
      args.q = context.inputs[0].f32() + (batch * g.tq + begin) * args.q_stride + head * g.d;
      args.k = context.inputs[1].f32() + batch * g.tk * args.k_stride + group * g.d;
      args.v = context.inputs[2].f32() + batch * g.tk * args.v_stride + group * g.d;
    }
    args.out_stride = heads_ * g.d;
    args.out = static_cast<float*>(context.outputs[0].data) + (batch * g.tq + begin) * args.out_stride + head * g.d;
    if (mask.data != nullptr) {
      args.mask = mask.data + batch * mask.batch_stride + head * mask.head_stride + begin * mask.row_stride;
      args.mask_stride = mask.row_stride;
    }
    args.tq = static_cast<int>(count);
    // A part of the queries sees the keys that its last row would see, so that "keys 0 .. i + (tk - tq)" still holds.
    args.tk = static_cast<int>(causal_ ? g.tk - (g.tq - begin - count) : g.tk);
    args.d = static_cast<int>(g.d);
    args.dv = static_cast<int>(g.dv);
    args.causal = causal_ ? 1 : 0;
    args.scale =
        static_cast<float>(scale_ != 0 ? scale_ : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(g.d, 1))));
    args.scratch = scratch;
    if (args.tk > 0) {
      (int8_ ? context.kernels->attention_i8 : context.kernels->attention_f32)(&args);
    } else {
      for (int64_t i = 0; i < count; ++i) std::fill_n(args.out + i * args.out_stride, g.dv, 0.0f);
    }
  }

  int64_t heads_, kv_heads_;
  double scale_;
  bool causal_, packed_, int8_;
  size_t mask_at_ = 3;
};

}  // namespace

std::unique_ptr<Op> make_attention(const NodeSpec&, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<Attention>(attributes, inputs);
}

}  // namespace pocketuni
