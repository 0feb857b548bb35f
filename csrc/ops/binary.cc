// What NumPy broadcasting reaches: arithmetic, comparison, choice, expansion to a shape.
#include <algorithm>
#include <functional>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

/// Walks the rows (runs along the last dimension) of a broadcast: calls row(y_offset, a_offset, b_offset, ...).
template <size_t N, typename F>
void for_rows(const Shape& out, const std::vector<int64_t> (&strides)[N], F row) {
  const size_t rank = out.size();
  const int64_t width = rank ? out.back() : 1, rows = width ? element_count(out) / width : 0;
  std::vector<int64_t> index(rank, 0);
  int64_t offsets[N] = {};
  for (int64_t r = 0; r < rows; ++r) {
    row(r * width, offsets);
    for (size_t i = rank - (rank ? 1 : 0); i-- > 0;) {
      for (size_t s = 0; s < N; ++s) offsets[s] += strides[s][i];
      if (++index[i] < out[i]) break;
      for (size_t s = 0; s < N; ++s) offsets[s] -= strides[s][i] * out[i];
      index[i] = 0;
    }
  }
}

int64_t last_stride(const std::vector<int64_t>& strides) { return strides.empty() ? 0 : strides.back(); }
int64_t row_width(const Shape& out) { return out.empty() ? 1 : out.back(); }

/// Calls f with a number of this type.
template <typename F>
void by_type(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kI32:
      return f(int32_t{});
    case DType::kI64:
      return f(int64_t{});
    case DType::kBool:
      return f(uint8_t{});
  }
}

int64_t floor_divide_free(int64_t a, int64_t b) {
  if (b == 0) return 0;
  return b == -1 ? static_cast<int64_t>(0 - static_cast<uint64_t>(a)) : a / b;
}

int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  uint64_t result = 1, factor = static_cast<uint64_t>(base);
  for (uint64_t e = static_cast<uint64_t>(exponent); e; e >>= 1, factor *= factor) {
    if (e & 1) result *= factor;
  }
  return static_cast<int64_t>(result);
}

// Integers wrap around, as they do in NumPy.
int64_t apply(Binary op, int64_t a, int64_t b) {
  const uint64_t x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  switch (op) {
    case Binary::kAdd:
      return static_cast<int64_t>(x + y);
    case Binary::kSub:
      return static_cast<int64_t>(x - y);
    case Binary::kMul:
      return static_cast<int64_t>(x * y);
    case Binary::kDiv:
      return floor_divide_free(a, b);
    case Binary::kPow:
      return integer_power(a, b);
    case Binary::kMin:
      return std::min(a, b);
    case Binary::kMax:
      return std::max(a, b);
  }
  return 0;
}

void expect_same_type(const Inputs& in, size_t a, size_t b) {
  expect_plain(in[a], "a");
  expect_plain(in[b], "b");
  if (in[a].type.dtype != in[b].type.dtype) {
    fail_argument(std::string("operands are ") + dtype_name(in[a].type.dtype) + " and " + dtype_name(in[b].type.dtype));
  }
}

class Arithmetic final : public Op {
 public:
  explicit Arithmetic(Binary op) : op_(op) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_same_type(in, 0, 1);
    if (in[0].type.dtype == DType::kBool) fail_argument("there is no arithmetic on bool");
    return {{in[0].type.dtype, broadcast_shapes(in[0].type.shape, in[1].type.shape)}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    const Tensor &a = context.inputs[0], &b = context.inputs[1], &y = context.outputs[0];
    if (y.type.dtype == DType::kF32 && run_flat(context)) return;
    const Shape& out = y.type.shape;
    const std::vector<int64_t> strides[2] = {broadcast_strides(a.type.shape, out),
                                             broadcast_strides(b.type.shape, out)};
    const int64_t width = row_width(out), sa = last_stride(strides[0]), sb = last_stride(strides[1]);
    for_rows(out, strides, [&](int64_t at, const int64_t* offset) {
      switch (y.type.dtype) {
        case DType::kF32:
          context.kernels->binary_f32(op_, a.f32() + offset[0], static_cast<int>(sa), b.f32() + offset[1],
                                      static_cast<int>(sb), static_cast<float*>(y.data) + at,
                                      static_cast<size_t>(width));
          break;
        case DType::kI64:
          integers<int64_t>(a, offset[0], sa, b, offset[1], sb, static_cast<int64_t*>(y.data) + at, width);
          break;
        default:
          integers<int32_t>(a, offset[0], sa, b, offset[1], sb, static_cast<int32_t*>(y.data) + at, width);
      }
    });
  }

 private:
  // Same shapes, or one side a single number: one pass over memory, in parallel.
  bool run_flat(RunContext& context) const {
    const Tensor &a = context.inputs[0], &b = context.inputs[1], &y = context.outputs[0];
    const int64_t count = element_count(y.type.shape);
    const int64_t na = element_count(a.type.shape), nb = element_count(b.type.shape);
    if ((na != count && na != 1) || (nb != count && nb != 1)) return false;
    const int sa = na == count ? 1 : 0, sb = nb == count ? 1 : 0;
    float* out = static_cast<float*>(y.data);
    context.pool->parallel_parts(count, 1, [&](int64_t begin, int64_t some, int) {
      context.kernels->binary_f32(op_, a.f32() + begin * sa, sa, b.f32() + begin * sb, sb, out + begin,
                                  static_cast<size_t>(some));
    });
    return true;
  }

  template <typename T>
  void integers(const Tensor& a, int64_t at_a, int64_t sa, const Tensor& b, int64_t at_b, int64_t sb, T* y,
                int64_t width) const {
    const T *x = static_cast<const T*>(a.data) + at_a, *z = static_cast<const T*>(b.data) + at_b;
    for (int64_t i = 0; i < width; ++i) y[i] = static_cast<T>(apply(op_, x[i * sa], z[i * sb]));
  }

  Binary op_;
};

enum class Compare { kEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kAnd, kOr };

template <typename T>
using CompareRow = void(const T* a, int64_t a_step, const T* b, int64_t b_step, uint8_t* y, int64_t n);

template <typename T, typename Holds>
void compare_row(const T* a, int64_t a_step, const T* b, int64_t b_step, uint8_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = Holds()(a[i * a_step], b[i * b_step]);
}

class CompareOp final : public Op {
 public:
  explicit CompareOp(Compare op) : op_(op) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_same_type(in, 0, 1);
    return {{DType::kBool, broadcast_shapes(in[0].type.shape, in[1].type.shape)}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    by_type(context.inputs[0].type.dtype, [&](auto number) { typed<decltype(number)>(context); });
  }

 private:
  template <typename T>
  void typed(RunContext& context) const {
    constexpr CompareRow<T>* rows[] = {compare_row<T, std::equal_to<T>>,      compare_row<T, std::less<T>>,
                                       compare_row<T, std::less_equal<T>>,    compare_row<T, std::greater<T>>,
                                       compare_row<T, std::greater_equal<T>>, compare_row<T, std::logical_and<T>>,
                                       compare_row<T, std::logical_or<T>>};
    const Tensor &a = context.inputs[0], &b = context.inputs[1], &y = context.outputs[0];
    const Shape& out = y.type.shape;
    const std::vector<int64_t> strides[2] = {broadcast_strides(a.type.shape, out),
                                             broadcast_strides(b.type.shape, out)};
    const int64_t sa = last_stride(strides[0]), sb = last_stride(strides[1]), width = row_width(out);
    for_rows(out, strides, [&](int64_t at, const int64_t* offset) {
      rows[static_cast<int>(op_)](static_cast<const T*>(a.data) + offset[0], sa,
                                  static_cast<const T*>(b.data) + offset[1], sb, static_cast<uint8_t*>(y.data) + at,
                                  width);
    });
  }

  Compare op_;
};

class Where final : public Op {
 public:
  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_plain(in[0], "condition");
    if (in[0].type.dtype != DType::kBool) fail_argument("the condition is not bool");
    expect_same_type(in, 1, 2);
    const Shape values = broadcast_shapes(in[1].type.shape, in[2].type.shape);
    return {{in[1].type.dtype, broadcast_shapes(in[0].type.shape, values)}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    by_type(context.outputs[0].type.dtype, [&](auto number) { typed<decltype(number)>(context); });
  }

 private:
  template <typename T>
  static void typed(RunContext& context) {
    const Tensor &c = context.inputs[0], &a = context.inputs[1], &b = context.inputs[2], &y = context.outputs[0];
    const Shape& out = y.type.shape;
    const std::vector<int64_t> strides[3] = {broadcast_strides(c.type.shape, out), broadcast_strides(a.type.shape, out),
                                             broadcast_strides(b.type.shape, out)};
    const int64_t sc = last_stride(strides[0]), sa = last_stride(strides[1]), sb = last_stride(strides[2]);
    const int64_t width = row_width(out);
    for_rows(out, strides, [&](int64_t at, const int64_t* offset) {
      const uint8_t* condition = static_cast<const uint8_t*>(c.data) + offset[0];
      const T* x = static_cast<const T*>(a.data) + offset[1];
      const T* z = static_cast<const T*>(b.data) + offset[2];
      T* result = static_cast<T*>(y.data) + at;
      for (int64_t i = 0; i < width; ++i) {
        const T either[] = {z[i * sb], x[i * sa]};  // both are read: no branch has to be guessed
        result[i] = either[condition[i * sc] != 0];
      }
    });
  }
};

class Expand final : public Op {
 public:
  explicit Expand(std::vector<int64_t> shape) : shape_(std::move(shape)) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>& named) const override {
    expect_plain(in[0], "x");
    return {{in[0].type.dtype, broadcast_shapes(in[0].type.shape, resolve_dims(shape_, named))}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    by_type(context.outputs[0].type.dtype, [&](auto number) { typed<decltype(number)>(context); });
  }

 private:
  template <typename T>
  static void typed(RunContext& context) {
    const Tensor &x = context.inputs[0], &y = context.outputs[0];
    const Shape& out = y.type.shape;
    const std::vector<int64_t> strides[1] = {broadcast_strides(x.type.shape, out)};
    const int64_t width = row_width(out);
    for_rows(out, strides, [&](int64_t at, const int64_t* offset) {
      const T* from = static_cast<const T*>(x.data) + offset[0];
      T* to = static_cast<T*>(y.data) + at;
      last_stride(strides[0]) == 1 ? std::copy_n(from, width, to) : std::fill_n(to, width, *from);
    });
  }

  std::vector<int64_t> shape_;
};

template <size_t N>
int index_of(const char* const (&names)[N], const std::string& name) {
  for (size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<int>(i);
  }
  fail_argument("no such operator");
}

}  // namespace

std::unique_ptr<Op> make_arithmetic(const NodeSpec& node, Attributes&, const Inputs&) {
  static const char* const names[] = {"add", "sub", "mul", "div", "pow", "minimum", "maximum"};
  return std::make_unique<Arithmetic>(static_cast<Binary>(index_of(names, node.op)));
}

std::unique_ptr<Op> make_compare(const NodeSpec& node, Attributes&, const Inputs&) {
  static const char* const names[] = {"equal", "less", "less_equal", "greater", "greater_equal", "and", "or"};
  return std::make_unique<CompareOp>(static_cast<Compare>(index_of(names, node.op)));
}

std::unique_ptr<Op> make_where(const NodeSpec&, Attributes&, const Inputs&) { return std::make_unique<Where>(); }

std::unique_ptr<Op> make_expand(const NodeSpec&, Attributes& a, const Inputs&) {
  return std::make_unique<Expand>(a.list("shape"));
}

}  // namespace pocketuni
