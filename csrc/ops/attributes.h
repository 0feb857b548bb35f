// Typed reading of a node's attributes. What the op does not ask for is an error, so that typos and newer files speak
// up.
#pragma once
#include <string>
#include <vector>

#include "ops/op.h"

namespace pocketuni {

class Attributes {
 public:
  explicit Attributes(const NodeSpec& node) : node_(node), used_(node.attributes.size(), false) {}

  int64_t integer(const char* name, int64_t fallback);
  int64_t integer(const char* name);
  bool flag(const char* name) { return integer(name, 0) != 0; }
  double real(const char* name, double fallback);
  double real(const char* name);
  std::string text(const char* name, const char* fallback);
  std::string text(const char* name);
  std::vector<int64_t> list(const char* name);

  /// Throws when an attribute was never read.
  void finish() const;
  /// "operator linear (node 'x')", for errors.
  std::string where() const;

 private:
  const Attribute* find(const char* name);
  [[noreturn]] void wrong(const char* name, const char* expected) const;
  const NodeSpec& node_;
  std::vector<bool> used_;
};

/// An axis in [-rank, rank) made non-negative; throws otherwise.
size_t normalize_axis(int64_t axis, size_t rank);
/// [rank]: whether an axis is among `axes`; throws where one is outside or named twice.
std::vector<bool> chosen_axes(const std::vector<int64_t>& axes, size_t rank);
/// NumPy broadcasting of two shapes; throws when they do not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b);
/// Dims with named ones replaced by their values; -1 stays.
Shape resolve_dims(const std::vector<int64_t>& dims, const std::vector<int64_t>& named);
/// `none`, `relu`, `gelu`, `gelu_tanh`, `silu`, `tanh` or `sigmoid`; throws for another name.
Activation parse_activation(const std::string& name);
/// Row-major strides in elements, 0 along dims of size 1 that `to` widens; `to` has at least the rank of `from`.
std::vector<int64_t> broadcast_strides(const Shape& from, const Shape& to);
/// Throws unless the input is there and float32.
void expect_float(const InputInfo& input, const char* role);
void expect_integer(const InputInfo& input, const char* role);
/// Throws unless the input is present and not a weight in kernel order.
/// Whether an axis, or none (-1), is the last one of an input.
bool is_last_axis(const InputInfo& input, int axis);

void expect_plain(const InputInfo& input, const char* role);
/// The element at `index` of an int32 or int64 tensor.
inline int64_t integer_at(const Tensor& tensor, int64_t index) {
  return tensor.type.dtype == DType::kI64 ? static_cast<const int64_t*>(tensor.data)[index]
                                          : static_cast<const int32_t*>(tensor.data)[index];
}

}  // namespace pocketuni
