// Operators that change how values are seen: reshape, squeeze, unsqueeze, expand, cast; and iota.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

void copy_all(RunContext& context) {
  const Tensor &x = context.inputs[0], &y = context.outputs[0];
  const size_t bytes = static_cast<size_t>(element_count(y.type.shape)) * dtype_size(y.type.dtype);
  if (x.data != y.data && bytes) std::memcpy(y.data, x.data, bytes);
}

class Reshape final : public Op {
 public:
  explicit Reshape(std::vector<int64_t> shape) : shape_(std::move(shape)) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>& named) const override {
    expect_plain(in[0], "x");
    Shape y = resolve_dims(shape_, named);
    const auto computed = std::count(y.begin(), y.end(), kComputed);
    if (computed > 1) fail_argument("more than one dimension is left open");
    const int64_t count = element_count(in[0].type.shape);
    if (computed == 1) {
      int64_t known = 1;
      for (int64_t dim : y) known *= dim == kComputed ? 1 : dim;
      if (known != 0 && count % known != 0) mismatch(in[0].type.shape, y);
      *std::find(y.begin(), y.end(), kComputed) = known == 0 ? 0 : count / known;
    }
    if (element_count(y) != count) mismatch(in[0].type.shape, y);
    return {{in[0].type.dtype, y}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  bool aliases_input() const override { return true; }
  void run(RunContext& context) const override { copy_all(context); }

 private:
  [[noreturn]] static void mismatch(const Shape& x, const Shape& y) {
    fail_argument("x is " + shape_text(x) + ", which does not reshape to " + shape_text(y));
  }
  std::vector<int64_t> shape_;
};

class Squeeze final : public Op {
 public:
  Squeeze(bool insert, std::vector<int64_t> axes) : insert_(insert), axes_(std::move(axes)) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_plain(in[0], "x");
    const Shape& x = in[0].type.shape;
    const size_t rank = insert_ ? x.size() + axes_.size() : x.size();
    const std::vector<bool> chosen = chosen_axes(axes_, rank);
    Shape y;
    size_t next = 0;
    for (size_t i = 0; i < rank; ++i) {
      if (insert_) {
        y.push_back(chosen[i] ? 1 : x[next++]);
      } else if (!chosen[i]) {
        y.push_back(x[i]);
      } else if (x[i] != 1) {
        fail_argument("x is " + shape_text(x) + ": only a dimension of 1 can be squeezed");
      }
    }
    return {{in[0].type.dtype, y}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  bool aliases_input() const override { return true; }
  void run(RunContext& context) const override { copy_all(context); }

 private:
  bool insert_;
  std::vector<int64_t> axes_;
};

class Iota final : public Op {
 public:
  explicit Iota(std::vector<int64_t> shape) : shape_(std::move(shape)) {
    if (shape_.size() != 1 || shape_[0] == kComputed) fail_argument("the shape is not one known dimension");
  }

  std::vector<TensorType> infer(const Inputs&, const std::vector<int64_t>& named) const override {
    return {{DType::kI64, resolve_dims(shape_, named)}};
  }

  void run(RunContext& context) const override {
    int64_t* y = static_cast<int64_t*>(context.outputs[0].data);
    for (int64_t i = 0; i < context.outputs[0].type.shape[0]; ++i) y[i] = i;
  }

 private:
  std::vector<int64_t> shape_;
};

// Float to integer rounds towards zero; what does not fit (NaN too) becomes the nearest integer that does, NaN 0.
template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (std::isnan(value)) return 0;
    if (value >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    if (value <= static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  }
  return static_cast<To>(value);
}

class Cast final : public Op {
 public:
  explicit Cast(const std::string& to) {
    for (DType dtype : {DType::kF32, DType::kI32, DType::kI64, DType::kBool}) {
      if (to == dtype_name(dtype)) {
        to_ = dtype;
        return;
      }
    }
    fail_argument("there is no dtype '" + to + "'");
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_plain(in[0], "x");
    return {{to_, in[0].type.shape}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    const Tensor& x = context.inputs[0];
    switch (x.type.dtype) {
      case DType::kF32:
        return from<float>(context);
      case DType::kI32:
        return from<int32_t>(context);
      case DType::kI64:
        return from<int64_t>(context);
      case DType::kBool:
        return from<uint8_t>(context);
    }
  }

 private:
  template <typename From>
  void from(RunContext& context) const {
    const From* x = static_cast<const From*>(context.inputs[0].data);
    const int64_t count = element_count(context.inputs[0].type.shape);
    void* y = context.outputs[0].data;
    for (int64_t i = 0; i < count; ++i) {
      switch (to_) {
        case DType::kF32:
          static_cast<float*>(y)[i] = static_cast<float>(x[i]);
          break;
        case DType::kI32:
          static_cast<int32_t*>(y)[i] = convert<int32_t>(x[i]);
          break;
        case DType::kI64:
          static_cast<int64_t*>(y)[i] = convert<int64_t>(x[i]);
          break;
        case DType::kBool:
          static_cast<uint8_t*>(y)[i] = x[i] != From{0};
          break;
      }
    }
  }

  DType to_ = DType::kF32;
};

}  // namespace

std::unique_ptr<Op> make_reshape(const NodeSpec&, Attributes& a, const Inputs&) {
  return std::make_unique<Reshape>(a.list("shape"));
}
std::unique_ptr<Op> make_squeeze(const NodeSpec& node, Attributes& a, const Inputs&) {
  return std::make_unique<Squeeze>(node.op == "unsqueeze", a.list("axes"));
}
std::unique_ptr<Op> make_iota(const NodeSpec&, Attributes& a, const Inputs&) {
  return std::make_unique<Iota>(a.list("shape"));
}
std::unique_ptr<Op> make_cast(const NodeSpec&, Attributes& a, const Inputs&) {
  return std::make_unique<Cast>(a.text("to"));
}

}  // namespace pocketuni
