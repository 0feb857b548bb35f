#include "api/c_tensors.h"

#include <cstring>
#include <limits>
#include <string>

#include "base/error.h"

namespace pocketuni {

size_t find_value(const TowerSpec& spec, const std::vector<uint32_t>& indices, const char* name, const char* kind) {
  std::string known;
  for (size_t i = 0; i < indices.size(); ++i) {
    const std::string& candidate = spec.values[indices[i]].name;
    if (candidate == name) return i;
    known += (i == 0 ? "" : ", ") + candidate;
  }
  fail_argument("tower '" + spec.name + "' has no " + kind + " '" + name + "'; there are: " + known);
}

Tensor checked_tensor(const pu_tensor& from, const char* name) {
  const std::string where = "input '" + std::string(name) + "': ";
  if (from.dtype < PU_FLOAT32 || from.dtype > PU_BOOL) {
    fail_argument(where + "dtype " + std::to_string(from.dtype) + " is not one of pu_dtype");
  }
  if (from.rank < 0 || from.rank > PU_MAX_RANK) {
    fail_argument(where + "rank " + std::to_string(from.rank) + ", expected 0 to 8");
  }
  Tensor tensor;
  tensor.type.dtype = static_cast<DType>(from.dtype);
  tensor.data = from.data;
  int64_t limit = std::numeric_limits<int64_t>::max() / 8;  // bytes must fit too
  bool empty = false;
  for (int i = 0; i < from.rank; ++i) {
    const int64_t size = from.shape[i];
    if (size < 0) fail_argument(where + "dimension " + std::to_string(i) + " is " + std::to_string(size));
    if (size > limit) fail_argument(where + "the shape has too many elements");
    if (size > 0) limit /= size;
    empty = empty || size == 0;
    tensor.type.shape.push_back(size);
  }
  if (from.data == nullptr && !empty) fail_argument(where + "data is NULL");
  return tensor;
}

void describe(const TowerSpec& spec, const std::vector<uint32_t>& indices, size_t index, pu_tensor_info* info) {
  if (index >= indices.size()) {
    fail_argument("index " + std::to_string(index) + " is out of range: tower '" + spec.name + "' has " +
                  std::to_string(indices.size()));
  }
  const ValueSpec& value = spec.values[indices[index]];
  std::memset(info, 0, sizeof *info);
  info->name = value.name.c_str();
  info->dtype = static_cast<pu_dtype>(value.dtype);
  info->rank = static_cast<int32_t>(value.dims.size());
  for (size_t i = 0; i < PU_MAX_RANK; ++i) info->dim_names[i] = "";
  for (size_t i = 0; i < value.dims.size(); ++i) {
    const Dim dim = value.dims[i];
    info->shape[i] = dim >= 0 ? dim : -1;
    if (dim < kComputed) info->dim_names[i] = spec.named_dims[static_cast<size_t>(-2 - dim)].c_str();
  }
}

void fill_tensor(const Tensor& from, pu_tensor* tensor) {
  std::memset(tensor, 0, sizeof *tensor);
  tensor->dtype = static_cast<pu_dtype>(from.type.dtype);
  tensor->rank = static_cast<int32_t>(from.type.shape.size());
  for (size_t i = 0; i < from.type.shape.size(); ++i) tensor->shape[i] = from.type.shape[i];
  tensor->data = from.data;
}

void GivenInputs::set(const char* name, const pu_tensor& tensor) {
  const size_t index = find_value(spec_, indices_, name, "input");
  tensors_[index] = checked_tensor(tensor, name);
  is_set_[index] = true;
}

const std::vector<Tensor>& GivenInputs::all() const {
  for (size_t i = 0; i < indices_.size(); ++i) {
    if (!is_set_[i]) fail_argument("input '" + spec_.values[indices_[i]].name + "' was not set");
  }
  return tensors_;
}

}  // namespace pocketuni
