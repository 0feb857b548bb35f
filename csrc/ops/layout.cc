// Operators that move values: transpose, concat, slice, gather.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

std::vector<int64_t> row_major(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

/// y[r][0 .. 2] = a[r], b[r], c[r]: planes of colours become pixels.
template <typename T>
void interleave(const T* a, const T* b, const T* c, int64_t height, T* y) {
  for (int64_t r = 0; r < height; ++r, y += 3) y[0] = a[r], y[1] = b[r], y[2] = c[r];
}

/// Copies y[i0, i1, ...] = x[sum(i * stride)] of one element type, plane by plane.
template <typename T>
void copy_planes(const T* x, const std::vector<int64_t>& strides, const Shape& out, T* y) {
  const size_t rank = out.size();
  if (rank == 0) {
    *y = *x;
    return;
  }
  const int64_t width = out[rank - 1], step = strides[rank - 1];
  const int64_t height = rank > 1 ? out[rank - 2] : 1, rise = rank > 1 ? strides[rank - 2] : 0;
  const bool colours = rise == 1 && width == 3;
  const int64_t planes = width > 0 && height > 0 ? element_count(out) / (width * height) : 0;
  std::vector<int64_t> index(rank, 0);
  for (int64_t p = 0; p < planes; ++p) {
    const T* row = x;
    if (colours) {
      interleave(x, x + step, x + 2 * step, height, y);
      y += width * height;
    }
    for (int64_t r = colours ? height : 0; r < height; ++r, row += rise, y += width) {
      if (step == 1) {
        std::memcpy(y, row, static_cast<size_t>(width) * sizeof(T));
      } else {
        for (int64_t i = 0; i < width; ++i) y[i] = row[i * step];
      }
    }
    for (size_t i = rank < 2 ? 0 : rank - 2; i-- > 0;) {
      x += strides[i];
      if (++index[i] < out[i]) break;
      x -= strides[i] * out[i];
      index[i] = 0;
    }
  }
}

/// The same by the size of an element in bytes.
void copy_strided(const char* x, const std::vector<int64_t>& strides, const Shape& out, size_t size, char* y) {
  if (size == 1) copy_planes(reinterpret_cast<const uint8_t*>(x), strides, out, reinterpret_cast<uint8_t*>(y));
  if (size == 4) copy_planes(reinterpret_cast<const uint32_t*>(x), strides, out, reinterpret_cast<uint32_t*>(y));
  if (size == 8) copy_planes(reinterpret_cast<const uint64_t*>(x), strides, out, reinterpret_cast<uint64_t*>(y));
}

class Transpose final : public Op {
 public:
  explicit Transpose(std::vector<int64_t> perm) : perm_(std::move(perm)) {
    std::vector<int64_t> sorted = perm_;
    std::sort(sorted.begin(), sorted.end());
    for (size_t i = 0; i < sorted.size(); ++i) {
      if (sorted[i] != static_cast<int64_t>(i)) fail_argument("perm is not a permutation: " + shape_text(perm_));
    }
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_plain(in[0], "x");
    const Shape& x = in[0].type.shape;
    if (x.size() != perm_.size()) fail_argument("x is " + shape_text(x) + ", perm is " + shape_text(perm_));
    Shape y;
    for (int64_t axis : perm_) y.push_back(x[static_cast<size_t>(axis)]);
    return {{in[0].type.dtype, y}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    const std::vector<int64_t> from = row_major(context.inputs[0].type.shape);
    std::vector<int64_t> strides;
    for (int64_t axis : perm_) strides.push_back(from[static_cast<size_t>(axis)]);
    const Shape& out = context.outputs[0].type.shape;
    const size_t size = dtype_size(context.outputs[0].type.dtype);
    // Parts along the first axis that has any: what lies behind it is copied for each.
    size_t axis = 0;
    while (axis + 1 < out.size() && out[axis] == 1) ++axis;
    const int64_t units = out.empty() ? 1 : out[axis], all = element_count(out);
    if (all == 0) return;
    context.pool->parallel_parts(units, all / units, [&](int64_t begin, int64_t count, int) {
      Shape part = out;
      if (!part.empty()) part[axis] = count;
      const int64_t from = strides.empty() ? 0 : begin * strides[axis], to = begin * (all / units);
      copy_strided(static_cast<const char*>(context.inputs[0].data) + from * static_cast<int64_t>(size), strides, part,
                   size, static_cast<char*>(context.outputs[0].data) + to * static_cast<int64_t>(size));
    });
  }

 private:
  std::vector<int64_t> perm_;
};

class Concat final : public Op {
 public:
  explicit Concat(int64_t axis) : axis_(axis) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_plain(in[0], "the first input");
    TensorType y = in[0].type;
    const size_t axis = normalize_axis(axis_, y.shape.size());
    for (size_t i = 1; i < in.size(); ++i) {
      expect_plain(in[i], "an input");
      Shape rest = in[i].type.shape;
      const int64_t width = rest.size() == y.shape.size() ? rest[axis] : -1;
      if (width >= 0) rest[axis] = y.shape[axis];
      if (rest != y.shape || in[i].type.dtype != y.dtype) {
        fail_argument("an input is " + shape_text(in[i].type.shape) + ", the first is " + shape_text(in[0].type.shape));
      }
      if (__builtin_add_overflow(y.shape[axis], width, &y.shape[axis])) fail_argument("the result is too large");
    }
    return {y};
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    const int axis = static_cast<int>(normalize_axis(axis_, in[0].type.shape.size()));
    const bool all = std::find(axes.begin(), axes.end(), -1) == axes.end();
    return TimeMap::rows_if(all && axis != axes[0]);
  }

  void run(RunContext& context) const override {
    const Shape& out = context.outputs[0].type.shape;
    const size_t axis = normalize_axis(axis_, out.size()), size = dtype_size(context.outputs[0].type.dtype);
    size_t outer = 1, inner = size;
    for (size_t i = 0; i < axis; ++i) outer *= static_cast<size_t>(out[i]);
    for (size_t i = axis + 1; i < out.size(); ++i) inner *= static_cast<size_t>(out[i]);
    char* y = static_cast<char*>(context.outputs[0].data);
    for (size_t o = 0; o < outer; ++o) {
      for (const Tensor& x : context.inputs) {
        const size_t bytes = inner * static_cast<size_t>(x.type.shape[axis]);
        if (bytes) std::memcpy(y, static_cast<const char*>(x.data) + o * bytes, bytes);
        y += bytes;
      }
    }
  }

 private:
  int64_t axis_;
};

class Slice final : public Op {
 public:
  explicit Slice(Attributes& a)
      : axes_(a.list("axes")), starts_(a.list("starts")), ends_(a.list("ends")), steps_(a.list("steps")) {
    if (starts_.size() != axes_.size() || ends_.size() != axes_.size() || steps_.size() != axes_.size()) {
      fail_argument("axes, starts, ends and steps differ in length");
    }
    for (int64_t step : steps_) {
      if (step < 1) fail_argument("a step is not positive");
    }
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>& named) const override {
    expect_plain(in[0], "x");
    TensorType y = in[0].type;
    const Shape starts = resolve_dims(starts_, named), ends = resolve_dims(ends_, named);
    chosen_axes(axes_, y.shape.size());
    for (size_t i = 0; i < axes_.size(); ++i) {
      const size_t axis = normalize_axis(axes_[i], y.shape.size());
      const int64_t dim = in[0].type.shape[axis];
      if (starts[i] < 0 || ends[i] < 0) fail_argument("starts and ends must not be negative");
      const int64_t start = std::min(starts[i], dim), end = std::min(ends[i], dim);
      y.shape[axis] = end > start ? (end - start - 1) / steps_[i] + 1 : 0;
    }
    return {y};
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    for (int64_t axis : axes_) {
      if (static_cast<int>(normalize_axis(axis, in[0].type.shape.size())) == axes[0]) return {};
    }
    return TimeMap::rows_if(true);
  }

  void run(RunContext& context) const override {
    const Tensor &x = context.inputs[0], &y = context.outputs[0];
    const Shape starts = resolve_dims(starts_, *context.named_dims);
    std::vector<int64_t> strides = row_major(x.type.shape);
    int64_t offset = 0;
    for (size_t i = 0; i < axes_.size(); ++i) {
      const size_t axis = normalize_axis(axes_[i], strides.size());
      const int64_t dim = x.type.shape[axis];
      offset += std::min(starts[i], dim) * strides[axis];
      strides[axis] *= std::min(steps_[i], std::max<int64_t>(dim, 1));  // a larger step leaves one row, too
    }
    const size_t size = dtype_size(y.type.dtype);
    copy_strided(static_cast<const char*>(x.data) + offset * static_cast<int64_t>(size), strides, y.type.shape, size,
                 static_cast<char*>(y.data));
  }

 private:
  std::vector<int64_t> axes_, starts_, ends_, steps_;
};

class Gather final : public Op {
 public:
  Gather(const std::string& name, int64_t axis) : name_(name), axis_(axis) {}

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_plain(in[0], "x");
    expect_integer(in[1], "indices");
    const Shape &x = in[0].type.shape, &indices = in[1].type.shape;
    const size_t axis = normalize_axis(axis_, x.size());
    Shape y(x.begin(), x.begin() + static_cast<int64_t>(axis));
    y.insert(y.end(), indices.begin(), indices.end());
    y.insert(y.end(), x.begin() + static_cast<int64_t>(axis) + 1, x.end());
    return {{in[0].type.dtype, y}};
  }

  TimeMap time_map(const Inputs&, const Axes& axes) const override { return TimeMap::rows_if(axes[0] < 0); }

  void run(RunContext& context) const override {
    const Tensor &x = context.inputs[0], &indices = context.inputs[1], &y = context.outputs[0];
    const size_t axis = normalize_axis(axis_, x.type.shape.size());
    int64_t outer = 1, inner = static_cast<int64_t>(dtype_size(y.type.dtype));
    for (size_t i = 0; i < axis; ++i) outer *= x.type.shape[i];
    for (size_t i = axis + 1; i < x.type.shape.size(); ++i) inner *= x.type.shape[i];
    const int64_t dim = x.type.shape[axis], count = element_count(indices.type.shape);
    char* to = static_cast<char*>(y.data);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t i = 0; i < count; ++i, to += inner) {
        const int64_t index = integer_at(indices, i), at = index < 0 ? index + dim : index;
        if (at < 0 || at >= dim) {
          fail_argument("node '" + name_ + "': index " + std::to_string(index) + " is outside a dimension of " +
                        std::to_string(dim));
        }
        if (inner)
          std::memcpy(to, static_cast<const char*>(x.data) + (o * dim + at) * inner, static_cast<size_t>(inner));
      }
    }
  }

 private:
  std::string name_;
  int64_t axis_;
};

}  // namespace

std::unique_ptr<Op> make_transpose(const NodeSpec&, Attributes& a, const Inputs&) {
  return std::make_unique<Transpose>(a.list("perm"));
}
std::unique_ptr<Op> make_concat(const NodeSpec&, Attributes& a, const Inputs&) {
  return std::make_unique<Concat>(a.integer("axis"));
}
std::unique_ptr<Op> make_slice(const NodeSpec&, Attributes& a, const Inputs&) { return std::make_unique<Slice>(a); }
std::unique_ptr<Op> make_gather(const NodeSpec& node, Attributes& a, const Inputs&) {
  return std::make_unique<Gather>(node.name, a.integer("axis", 0));
}

}  // namespace pocketuni
