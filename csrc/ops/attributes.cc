#include "ops/attributes.h"

#include <algorithm>

#include "base/error.h"

namespace pocketuni {

const Attribute* Attributes::find(const char* name) {
  for (size_t i = 0; i < node_.attributes.size(); ++i) {
    if (node_.attributes[i].name == name) {
      used_[i] = true;
      return &node_.attributes[i];
    }
  }
  return nullptr;
}

std::string Attributes::where() const { return "operator " + node_.op + " (node '" + node_.name + "')"; }

void Attributes::wrong(const char* name, const char* expected) const {
  fail_argument("attribute '" + std::string(name) + "' is missing or not " + expected);
}

int64_t Attributes::integer(const char* name, int64_t fallback) {
  const Attribute* attribute = find(name);
  if (attribute == nullptr) return fallback;
  if (const int64_t* value = std::get_if<int64_t>(&attribute->value)) return *value;
  wrong(name, "an integer");
}

int64_t Attributes::integer(const char* name) {
  if (find(name) == nullptr) wrong(name, "an integer");
  return integer(name, 0);
}

double Attributes::real(const char* name, double fallback) {
  const Attribute* attribute = find(name);
  if (attribute == nullptr) return fallback;
  if (const double* value = std::get_if<double>(&attribute->value)) return *value;
  wrong(name, "a number");
}

double Attributes::real(const char* name) {
  if (find(name) == nullptr) wrong(name, "a number");
  return real(name, 0);
}

std::string Attributes::text(const char* name, const char* fallback) {
  const Attribute* attribute = find(name);
  if (attribute == nullptr) return fallback;
  if (const std::string* value = std::get_if<std::string>(&attribute->value)) return *value;
  wrong(name, "a text");
}

std::string Attributes::text(const char* name) {
  if (find(name) == nullptr) wrong(name, "a text");
  return text(name, "");
}

std::vector<int64_t> Attributes::list(const char* name) {
  const Attribute* attribute = find(name);
  if (attribute != nullptr) {
    if (const auto* value = std::get_if<std::vector<int64_t>>(&attribute->value)) return *value;
  }
  wrong(name, "a list");
}

void Attributes::finish() const {
  for (size_t i = 0; i < used_.size(); ++i) {
    if (!used_[i]) fail_argument("attribute '" + node_.attributes[i].name + "' is not known");
  }
}

size_t normalize_axis(int64_t axis, size_t rank) {
  const int64_t r = static_cast<int64_t>(rank);
  if (axis < -r || axis >= r) {
    fail_argument("axis " + std::to_string(axis) + " is outside a tensor of rank " + std::to_string(rank));
  }
  return static_cast<size_t>(axis < 0 ? axis + r : axis);
}

std::vector<bool> chosen_axes(const std::vector<int64_t>& axes, size_t rank) {
  std::vector<bool> chosen(rank, false);
  for (int64_t axis : axes) {
    const size_t place = normalize_axis(axis, rank);
    if (chosen[place]) fail_argument("an axis is named twice");
    chosen[place] = true;
  }
  return chosen;
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) {
      fail_argument("shapes " + shape_text(a) + " and " + shape_text(b) + " do not broadcast");
    }
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

Shape resolve_dims(const std::vector<int64_t>& dims, const std::vector<int64_t>& named) {
  Shape out = dims;
  for (int64_t& dim : out) {
    if (dim >= kComputed) continue;
    const uint64_t index = static_cast<uint64_t>(-2 - dim);
    if (index >= named.size()) fail_argument("a dimension refers to a name that the tower does not have");
    dim = named[index];
  }
  return out;
}

Activation parse_activation(const std::string& name) {
  static const char* const names[] = {"none", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"};
  for (int i = 0; i < 7; ++i) {
    if (name == names[i]) return static_cast<Activation>(i);
  }
  fail_argument("activation '" + name + "' is not known");
}

std::vector<int64_t> broadcast_strides(const Shape& from, const Shape& to) {
  std::vector<int64_t> strides(to.size(), 0);
  int64_t stride = 1;
  for (size_t i = 0; i < from.size(); ++i) {
    const int64_t dim = from[from.size() - 1 - i];
    strides[to.size() - 1 - i] = dim == 1 ? 0 : stride;
    stride *= dim;
  }
  return strides;
}

void expect_plain(const InputInfo& input, const char* role) {
  if (!input.present) fail_argument(std::string(role) + " is missing");
  if (input.tensor != nullptr && input.tensor->encoding > Encoding::kBool) {
    fail_argument(std::string(role) + " is a weight in kernel order, expected plain values");
  }
}

void expect_float(const InputInfo& input, const char* role) {
  expect_plain(input, role);
  if (input.type.dtype != DType::kF32) {
    fail_argument(std::string(role) + " is " + dtype_name(input.type.dtype) + ", expected float32");
  }
}

void expect_integer(const InputInfo& input, const char* role) {
  expect_plain(input, role);
  if (input.type.dtype != DType::kI32 && input.type.dtype != DType::kI64) {
    fail_argument(std::string(role) + " is " + dtype_name(input.type.dtype) + ", expected int32 or int64");
  }
}

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count))
      fail_argument("shape " + shape_text(shape) + " is too large");
  }
  return count;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

size_t Op::scratch_bytes(const std::vector<InputInfo>&, int) const { return 0; }
bool Op::aliases_input() const { return false; }
TimeMap Op::time_map(const std::vector<InputInfo>&, const std::vector<int>&) const { return {}; }

bool is_last_axis(const InputInfo& input, int axis) { return axis + 1 == static_cast<int>(input.type.shape.size()); }

}  // namespace pocketuni
