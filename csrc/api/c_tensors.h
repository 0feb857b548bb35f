// Tensors as the C interface has them, and the tables of a tower's inputs and outputs.
#pragma once
#include <vector>

#include "api/pocketuni.h"
#include "graph/session.h"

namespace pocketuni {

/// Position of the value called `name` among `indices`; throws an Error that lists the names there are.
size_t find_value(const TowerSpec& spec, const std::vector<uint32_t>& indices, const char* name, const char* kind);
/// A view of a caller's tensor; throws an Error naming the input for what cannot be one.
Tensor checked_tensor(const pu_tensor& from, const char* name);
/// A result as the C interface has it.
void fill_tensor(const Tensor& from, pu_tensor* tensor);
/// What a tower expects or gives at a place of `indices`; throws an Error for a place that is not there.
void describe(const TowerSpec& spec, const std::vector<uint32_t>& indices, size_t index, pu_tensor_info* info);

/// Inputs by name until a run takes them all.
class GivenInputs {
 public:
  GivenInputs(const TowerSpec& spec, std::vector<uint32_t> indices)
      : spec_(spec), indices_(std::move(indices)), tensors_(indices_.size()), is_set_(indices_.size(), false) {}

  void set(const char* name, const pu_tensor& tensor);
  /// In the order of the indices; throws an Error naming one that was not set.
  const std::vector<Tensor>& all() const;

 private:
  const TowerSpec& spec_;
  std::vector<uint32_t> indices_;
  std::vector<Tensor> tensors_;
  std::vector<bool> is_set_;
};

}  // namespace pocketuni
