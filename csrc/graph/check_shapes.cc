// Whether the nodes of a tower fit together, when a model is opened and no size is known yet.
#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "graph/shapes.h"
#include "graph/tower.h"

namespace pocketuni {
namespace {

constexpr int kMostTries = 60000;               // beyond general ones, in all: what is left is for the runs to judge
constexpr int kMostWorking = 8;                 // sizes that work, for a result that is computed
constexpr int64_t kSweep = 512;                 // every size up to here is tried for all dimensions at once
constexpr size_t kMostSuggested = 40;           // sizes that are tried in all combinations
constexpr int64_t kDivisible = 720720;          // by 1 to 16
constexpr int64_t kLargest = int64_t{1} << 22;  // which every operator takes
constexpr int64_t kVaries = std::numeric_limits<int64_t>::min();

/// Goes from node to node with types in which named and computed dimensions stand for any size. A node is refused when
/// no size suits it: neither small, large nor divisible ones, nor those that its constants suggest. The rules of all
/// operators are equalities, divisibilities and bounds, which one of these meets if any size does.
class ShapeCheck {
 public:
  explicit ShapeCheck(const Model::Tower& tower) : tower_(tower), spec_(*tower.spec) {
    for (const ValueSpec& value : spec_.values) dims_.push_back(value.dims);
  }

  void run() {
    for (size_t n = 0; n < spec_.nodes.size(); ++n) check_node(n);
  }

 private:
  void check_node(size_t n) {
    node_ = n;
    working_ = 0;
    infos_ = tower_.operands[n];
    seen_.clear(), suited_.clear(), fault_.clear();
    find_variables();
    if (!try_general() && !try_suggested() && !may_suit_others()) fail_format(node_title(spec_.nodes[n]) + fault_);
    refine();
  }

  /// The named dimensions that this node depends on, and the computed ones of its operands.
  void find_variables() {
    variables_.clear();
    const auto add = [&](Variable variable) {
      if (std::find(variables_.begin(), variables_.end(), variable) == variables_.end()) variables_.push_back(variable);
    };
    const NodeSpec& node = spec_.nodes[node_];
    for (const Operand& operand : node.inputs) {
      if (operand.kind != Operand::kValue) continue;
      const std::vector<Dim>& dims = dims_[operand.index];
      for (size_t d = 0; d < dims.size(); ++d) {
        if (dims[d] <= -2) add({kNamed, static_cast<size_t>(-2 - dims[d])});
        if (dims[d] == kComputed) add({operand.index, d});
      }
    }
    for (const Attribute& attribute : node.attributes) {
      const auto* list = std::get_if<std::vector<int64_t>>(&attribute.value);
      for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
        if ((*list)[i] >= kComputed) continue;  // no name, and the largest numbers would overflow below
        const uint64_t name = static_cast<uint64_t>(-2 - (*list)[i]);
        if (name < spec_.named_dims.size()) add({kNamed, static_cast<size_t>(name)});
      }
    }
    sizes_.assign(variables_.size(), 1);
  }

  /// Small and large sizes, equal and different. With a computed result, several that work, to see what stays the same.
  bool try_general() {
    const std::vector<Dim>& result = dims_[result_value()];
    const int wanted = std::count(result.begin(), result.end(), kComputed) > 0 ? kMostWorking : 1;
    for (size_t i = 0; i < sizes_.size(); ++i) sizes_[i] = 2 + static_cast<int64_t>(i);
    attempt();
    for (int64_t size : {int64_t{1}, int64_t{3}, int64_t{8}, int64_t{61}, kDivisible, kLargest}) {
      if (sizes_.empty() || working_ >= wanted) break;
      std::fill(sizes_.begin(), sizes_.end(), size);
      attempt();
    }
    for (size_t i = 0; i < sizes_.size() && working_ < wanted; ++i) {
      std::fill(sizes_.begin(), sizes_.end(), 1);
      for (int64_t size : {int64_t{61}, kDivisible, kLargest}) sizes_[i] = size, attempt();
    }
    return working_ > 0;
  }

  /// Sizes that the node's constants suggest, in all combinations. True when one works or they are too many to tell.
  bool try_suggested() {
    if (sizes_.empty()) return false;
    for (int64_t size = 1; size <= kSweep; ++size) {
      std::fill(sizes_.begin(), sizes_.end(), size);
      if (attempt()) return true;
    }
    const std::vector<int64_t> suggested = suggested_sizes();
    std::vector<size_t> digits(sizes_.size(), 0);
    for (;;) {
      for (size_t i = 0; i < digits.size(); ++i) sizes_[i] = suggested[digits[i]];
      if (attempt() || ++tries_ > kMostTries) return true;
      size_t at = 0;
      while (at < digits.size() && ++digits[at] == suggested.size()) digits[at++] = 0;
      if (at == digits.size()) return false;
    }
  }

  /// Where all that disagrees is a result that varies with a constant in the file, a size that was not tried may suit.
  bool may_suit_others() const {
    const std::vector<Dim>& dims = spec_.values[result_value()].dims;
    if (sizes_.empty() || suited_.size() != dims.size() || dims.empty()) return false;
    for (size_t d = 0; d < dims.size(); ++d) {
      if (!suited_[d] && (dims[d] <= -2 || seen_[d] != kVaries)) return false;
    }
    return true;
  }

  std::vector<int64_t> suggested_sizes() const {
    std::vector<int64_t> found{1, 2, 3, 4, 8};
    const auto add = [&](int64_t size) {
      if (size < 1 || size > (int64_t{1} << 40) || found.size() >= kMostSuggested) return;
      if (std::find(found.begin(), found.end(), size) == found.end()) found.push_back(size);
    };
    const auto product = [](const std::vector<int64_t>& dims) {
      int64_t all = 1;
      for (int64_t dim : dims) {
        if (dim > 0 && __builtin_mul_overflow(all, dim, &all)) return int64_t{0};
      }
      return all;
    };
    const NodeSpec& node = spec_.nodes[node_];
    std::vector<int64_t> operand_products;
    const auto add_dims = [&](const std::vector<int64_t>& dims) {
      operand_products.push_back(product(dims));
      for (int64_t dim : dims) add(dim);
    };
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i].kind == Operand::kValue) add_dims(dims_[node.inputs[i].index]);
      if (node.inputs[i].kind == Operand::kTensor) add_dims(infos_[i].type.shape);
    }
    add_dims(dims_[node.outputs[0]]);
    for (const Attribute& attribute : node.attributes) {
      if (const auto* number = std::get_if<int64_t>(&attribute.value)) add(*number), add(2 * (*number & 0xFFFFFF));
      const auto* list = std::get_if<std::vector<int64_t>>(&attribute.value);
      if (list == nullptr) continue;
      for (int64_t number : *list) add(number);
      const int64_t all = product(*list);
      add(all);
      for (int64_t other : operand_products) {  // a reshape of what has `other` elements for each
        if (all > 0 && other > 0) add(all / std::gcd(all, other)), add(other / std::gcd(all, other));
      }
    }
    return found;
  }

  int64_t size_of(Dim dim, uint32_t value, size_t d) const {
    if (dim >= 0) return dim;
    const Variable variable = dim == kComputed ? Variable{value, d} : Variable{kNamed, static_cast<size_t>(-2 - dim)};
    const auto at = std::find(variables_.begin(), variables_.end(), variable);
    return at == variables_.end() ? kComputed : sizes_[static_cast<size_t>(at - variables_.begin())];
  }

  /// Whether the node works with `sizes_`.
  bool attempt() {
    const NodeSpec& node = spec_.nodes[node_];
    named_.assign(spec_.named_dims.size(), 1);
    for (size_t i = 0; i < variables_.size(); ++i) {
      if (variables_[i].first == kNamed) named_[variables_[i].second] = sizes_[i];
    }
    try {
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.inputs[i].kind != Operand::kValue) continue;
        const uint32_t value = node.inputs[i].index;
        infos_[i].type.shape.clear();
        for (size_t d = 0; d < dims_[value].size(); ++d) {
          infos_[i].type.shape.push_back(size_of(dims_[value][d], value, d));
        }
        element_count(infos_[i].type.shape);
      }
      const TensorType result = tower_.ops[node_]->infer(infos_, named_)[0];
      element_count(result.shape);
      return fits(spec_.values[node.outputs[0]], result);
    } catch (const Error& error) {
      if (fault_.empty()) fault_ = error.what();
      return false;
    }
  }

  /// Whether a result is what the file says; notes what it comes out as.
  bool fits(const ValueSpec& value, const TensorType& result) {
    bool same = result.dtype == value.dtype && result.shape.size() == value.dims.size();
    if (same) {
      if (seen_.empty()) seen_ = result.shape, suited_.assign(seen_.size(), false);
      for (size_t d = 0; d < result.shape.size(); ++d) {
        if (seen_[d] != result.shape[d]) seen_[d] = kVaries;
        const int64_t expected = size_of(value.dims[d], result_value(), d);
        const bool suits = expected == kComputed || expected == result.shape[d];
        suited_[d] = suited_[d] || suits;
        same = same && suits;
      }
    }
    working_ += same;
    if (!same && fault_.empty()) fault_ = contradiction(value, result, named_);
    return same;
  }

  /// Computed dimensions of the result that come out the same for all sizes count as constants from here on.
  void refine() {
    std::vector<Dim>& dims = dims_[result_value()];
    if (working_ < 2 && !sizes_.empty()) return;
    for (size_t d = 0; d < dims.size(); ++d) {
      if (dims[d] == kComputed && seen_[d] != kVaries) dims[d] = seen_[d];
    }
  }

  uint32_t result_value() const { return spec_.nodes[node_].outputs[0]; }

  // A named dimension {kNamed, index}, or a computed one {value, axis}.
  using Variable = std::pair<uint32_t, size_t>;
  static constexpr uint32_t kNamed = 0xFFFFFFFF;

  const Model::Tower& tower_;
  const TowerSpec& spec_;
  std::vector<std::vector<Dim>> dims_;  // [value]
  int tries_ = 0;                       // of suggested sizes, in the whole tower

  // Of the node that is being checked:
  size_t node_ = 0;
  std::vector<Variable> variables_;
  std::vector<int64_t> sizes_;  // [variable]
  std::vector<int64_t> named_;  // [named dimension]
  std::vector<InputInfo> infos_;
  int working_ = 0;            // tries that worked
  std::vector<int64_t> seen_;  // [axis of the result]: its size in all tries, or kVaries
  std::vector<bool> suited_;   // [axis of the result]: it was once what the file says
  std::string fault_;          // of the first try
};

}  // namespace

void check_shapes(const Model::Tower& tower) { ShapeCheck(tower).run(); }

}  // namespace pocketuni
