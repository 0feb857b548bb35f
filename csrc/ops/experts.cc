// topk and expert_linear: a router's choice for each row, and products with the weights of the chosen experts alone.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/gemm_weight.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

size_t product_of(const Shape& shape, size_t dims) {
  size_t product = 1;
  for (size_t i = 0; i < dims; ++i) product *= static_cast<size_t>(shape[i]);
  return product;
}

// The k largest of a row, the largest first; of equal ones the first, and NaN counts as larger than all others.
class TopK final : public Op {
 public:
  explicit TopK(Attributes& a) : k_(a.integer("k")) {
    const std::string result = a.text("result");
    if (result != "values" && result != "indices") fail_argument("result '" + result + "' is not values or indices");
    indices_ = result == "indices";
    if (k_ < 0) fail_argument("k is " + std::to_string(k_));
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    Shape y = in[0].type.shape;
    if (y.empty() || y.back() < k_) {
      fail_argument("x is " + shape_text(y) + ", expected a last dimension of at least k = " + std::to_string(k_));
    }
    if (y.back() > (1 << 30)) fail_argument("rows are too long");
    y.back() = k_;
    return {{indices_ ? DType::kI64 : DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs& in, int) const override {
    return static_cast<size_t>(in[0].type.shape.back()) * sizeof(int32_t);
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    return TimeMap::rows_if(!is_last_axis(in[0], axes[0]));
  }

  void run(RunContext& context) const override {
    const Shape& shape = context.inputs[0].type.shape;
    const size_t rows = product_of(shape, shape.size() - 1), width = static_cast<size_t>(shape.back());
    const size_t k = static_cast<size_t>(k_);
    auto* order = reinterpret_cast<int32_t*>(context.scratch);
    for (size_t r = 0; r < rows; ++r) {
      const float* x = context.inputs[0].f32() + r * width;
      for (size_t i = 0; i < width; ++i) order[i] = static_cast<int32_t>(i);
      const auto before = [x](int32_t a, int32_t b) {
        const float left = x[a], right = x[b];
        if (left != left || right != right) return left != left && (right == right || a < b);
        return left > right || (left == right && a < b);
      };
      std::partial_sort(order, order + k, order + width, before);
      for (size_t i = 0; i < k; ++i) {
        if (indices_) static_cast<int64_t*>(context.outputs[0].data)[r * k + i] = order[i];
        if (!indices_) context.outputs[0].f32()[r * k + i] = x[order[i]];
      }
    }
  }

 private:
  int64_t k_;
  bool indices_;
};

// Rows are put in the order of their experts, so that each expert's weights are read once, for all of its rows.
class ExpertLinear final : public Op {
 public:
  ExpertLinear(Attributes& a, const Inputs& inputs)
      : activation_(parse_activation(a.text("activation", "none"))), weight_(inputs[1].tensor) {
    const int64_t experts = a.integer("experts");
    if (experts < 1 || experts > weight_.outputs() || weight_.outputs() % (experts * kPanel) != 0) {
      fail_argument(std::to_string(experts) + " experts do not divide " + std::to_string(weight_.outputs()) +
                    " outputs into multiples of 16");
    }
    experts_ = static_cast<int>(experts);
    outputs_ = weight_.outputs() / experts_;
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_float(in[0], "x");
    expect_integer(in[2], "choice");
    const Shape &x = in[0].type.shape, &choice = in[2].type.shape;
    const size_t lead = choice.empty() ? 0 : x.size() - 1;
    const bool fits = !choice.empty() && !x.empty() && x.back() == weight_.k() &&
                      (lead == choice.size() || lead + 1 == choice.size()) &&
                      std::equal(x.begin(), x.end() - 1, choice.begin());
    if (!fits) {
      fail_argument("x is " + shape_text(x) + " and the choice " + shape_text(choice) + ", expected [.., " +
                    std::to_string(weight_.k()) + "] or [.., choices, " + std::to_string(weight_.k()) +
                    "], and [.., choices]");
    }
    if (in.size() > 3 && in[3].present) {
      expect_float(in[3], "bias");
      if (in[3].type.shape != Shape{weight_.outputs()}) fail_argument("bias is " + shape_text(in[3].type.shape));
    }
    if (element_count(choice) > (1 << 30)) fail_argument("too many rows");
    Shape y = choice;
    y.push_back(outputs_);
    return {{DType::kF32, y}};
  }

  size_t scratch_bytes(const Inputs& in, int) const override {
    const size_t pairs = static_cast<size_t>(element_count(in[2].type.shape));
    const size_t rows = weight_.quantized() ? weight_.rounded_bytes(pairs) : round64(pairs * weight_.k() * 4);
    return lists_bytes(pairs) + rows + round64(pairs * outputs_ * 4);
  }

  TimeMap time_map(const Inputs& in, const Axes& axes) const override {
    const int lead = static_cast<int>(in[2].type.shape.size()) - 1;  // axes in front of the choices
    return TimeMap::rows_if(axes[0] == axes[2] && axes[0] < lead);
  }

  void run(RunContext& context) const override {
    const size_t pairs = static_cast<size_t>(element_count(context.inputs[2].type.shape));
    const Lists lists = sort(context, pairs);
    unsigned char* rows = context.scratch + lists_bytes(pairs);
    float* out = reinterpret_cast<float*>(
        rows + (weight_.quantized() ? weight_.rounded_bytes(pairs) : round64(pairs * weight_.k() * 4)));
    gather(context, lists, pairs, rows);
    const int panels = outputs_ / kPanel, threads = context.pool->size();
    const double work = static_cast<double>(pairs) * outputs_ * weight_.k();
    const int wanted = threads == 1 || work < 32768 ? 1 : std::max(1, 4 * threads / lists.used_count);
    const int share = (panels + wanted - 1) / wanted, parts = (panels + share - 1) / share;
    context.pool->parallel(lists.used_count * parts, [&](int index, int) {
      const int expert = lists.used[index / parts], panel = index % parts * share;
      multiply(context, lists, pairs, rows, out, expert, panel, std::min(share, panels - panel));
    });
    for (size_t i = 0; i < pairs; ++i) {
      std::memcpy(context.outputs[0].f32() + static_cast<size_t>(lists.order[i]) * outputs_, out + i * outputs_,
                  static_cast<size_t>(outputs_) * sizeof(float));
    }
  }

 private:
  struct Lists {
    int32_t *order, *first, *used;  // [pair]: rows by expert; [expert + 1]: where each begins; experts with rows
    int used_count;
  };

  size_t lists_bytes(size_t pairs) const {
    return round64(pairs * 4) + round64((static_cast<size_t>(experts_) + 1) * 4) +
           round64(static_cast<size_t>(experts_) * 4);
  }

  Lists sort(const RunContext& context, size_t pairs) const {
    Lists lists{};
    lists.order = reinterpret_cast<int32_t*>(context.scratch);
    lists.first = reinterpret_cast<int32_t*>(context.scratch + round64(pairs * 4));
    lists.used = reinterpret_cast<int32_t*>(context.scratch + round64(pairs * 4) +
                                            round64((static_cast<size_t>(experts_) + 1) * 4));
    std::fill(lists.first, lists.first + experts_ + 1, 0);
    for (size_t i = 0; i < pairs; ++i) {
      const int64_t expert = integer_at(context.inputs[2], static_cast<int64_t>(i));
      if (expert < 0 || expert >= experts_) {
        fail_argument("expert_linear: the choice " + std::to_string(expert) + " is not one of " +
                      std::to_string(experts_) + " experts");
      }
      ++lists.first[expert + 1];
    }
    for (int e = 0; e < experts_; ++e) {
      if (lists.first[e + 1] != 0) lists.used[lists.used_count++] = e;
      lists.first[e + 1] += lists.first[e];
    }
    // Filling moves each beginning to the next one's; shifting them back restores the list.
    for (size_t i = 0; i < pairs; ++i) {
      const int64_t expert = integer_at(context.inputs[2], static_cast<int64_t>(i));
      lists.order[lists.first[expert]++] = static_cast<int32_t>(i);
    }
    for (int e = experts_; e > 0; --e) lists.first[e] = lists.first[e - 1];
    lists.first[0] = 0;
    return lists;
  }

  void gather(const RunContext& context, const Lists& lists, size_t pairs, unsigned char* rows) const {
    const Shape &x = context.inputs[0].type.shape, &choice = context.inputs[2].type.shape;
    const size_t k = static_cast<size_t>(weight_.k());
    const size_t choices = x.size() == choice.size() ? static_cast<size_t>(choice.back()) : 1;  // that share a row
    for (size_t i = 0; i < pairs; ++i) {
      const float* row = context.inputs[0].f32() + static_cast<size_t>(lists.order[i]) / choices * k;
      if (weight_.quantized()) {
        weight_.round(*context.kernels, row, weight_.k(), 1, rows, pairs, i);
      } else {
        std::memcpy(reinterpret_cast<float*>(rows) + i * k, row, k * sizeof(float));
      }
    }
  }

  void multiply(const RunContext& context, const Lists& lists, size_t pairs, const unsigned char* rows, float* out,
                int expert, int panel, int panels) const {
    const size_t begin = static_cast<size_t>(lists.first[expert]), k = static_cast<size_t>(weight_.k());
    const size_t at = static_cast<size_t>(expert) * outputs_ + static_cast<size_t>(panel) * kPanel;
    Epilogue epilogue;
    epilogue.activation = activation_;
    if (context.inputs.size() > 3 && context.inputs[3].data != nullptr) epilogue.bias = context.inputs[3].f32() + at;
    QuantizedRows q{};
    if (weight_.quantized()) q = weight_.rounded_rows(rows, pairs, begin);
    weight_.multiply(*context.kernels, reinterpret_cast<const float*>(rows) + begin * k, weight_.k(), q,
                     lists.first[expert + 1] - lists.first[expert], expert * (outputs_ / kPanel) + panel,
                     panels * kPanel, epilogue, out + begin * outputs_ + static_cast<size_t>(panel) * kPanel, outputs_);
  }

  Activation activation_;
  GemmWeight weight_;
  int experts_ = 0, outputs_ = 0;
};

}  // namespace

std::unique_ptr<Op> make_topk(const NodeSpec&, Attributes& attributes, const Inputs&) {
  return std::make_unique<TopK>(attributes);
}

std::unique_ptr<Op> make_expert_linear(const NodeSpec&, Attributes& attributes, const Inputs& inputs) {
  return std::make_unique<ExpertLinear>(attributes, inputs);
}

}  // namespace pocketuni
