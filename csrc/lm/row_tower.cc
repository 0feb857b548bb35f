#include "lm/row_tower.h"

#include <algorithm>

#include "base/error.h"
#include "speech/voice_towers.h"

namespace pocketuni {
namespace {

std::vector<size_t> places(const TowerSpec& spec, const std::vector<uint32_t>& indices, const char* kind,
                           const std::vector<const char*>& names) {
  std::vector<Port> ports;
  for (const char* name : names) {
    const bool ids = std::string(name) == "ids";
    ports.push_back({name, ids ? DType::kI64 : DType::kF32, ids ? Shape{1, -1} : Shape{1, -1, -1}});
  }
  return find_ports(spec, indices, kind, ports, true);
}

std::vector<size_t> widths(const TowerSpec& spec, const std::vector<uint32_t>& indices,
                           const std::vector<size_t>& found) {
  std::vector<size_t> result;
  for (size_t place : found) {
    const ValueSpec& value = spec.values[indices[place]];
    const Dim width = value.dims.size() == 2 ? 1 : value.dims[2];
    if (width <= 0) fail_argument("tower '" + spec.name + "': the width of '" + value.name + "' is not a constant");
    result.push_back(static_cast<size_t>(width));
  }
  return result;
}

}  // namespace

RowTower::RowTower(const std::shared_ptr<const Model>& model, const std::string& name, const SessionOptions& options,
                   const std::vector<const char*>& inputs, const std::vector<const char*>& outputs)
    : session_(model, name, options) {
  const TowerSpec& spec = session_.spec();
  input_places_ = places(spec, spec.inputs, "input", inputs);
  output_places_ = places(spec, spec.outputs, "output", outputs);
  input_widths_ = widths(spec, spec.inputs, input_places_);
  output_widths_ = widths(spec, spec.outputs, output_places_);
  tensors_.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueSpec& value = spec.values[spec.inputs[input_places_[i]]];
    Tensor& tensor = tensors_[input_places_[i]];
    tensor.type = {value.dtype, {1, 0}};
    if (value.dims.size() == 3) tensor.type.shape.push_back(value.dims[2]);
  }
}

bool RowTower::exists(const Model& model, const std::string& name) {
  const std::vector<TowerSpec>& towers = model.file().towers();
  return std::any_of(towers.begin(), towers.end(), [&](const TowerSpec& tower) { return tower.name == name; });
}

void RowTower::run(const std::vector<const void*>& inputs, size_t rows) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    Tensor& tensor = tensors_[input_places_[i]];
    tensor.type.shape[1] = static_cast<int64_t>(rows);
    tensor.data = const_cast<void*>(inputs[i]);
  }
  results_ = &session_.run(tensors_);
}

Rows RowTower::output(size_t output) const {
  const Tensor& tensor = (*results_)[output_places_[output]];
  return {tensor.f32(), static_cast<size_t>(tensor.type.shape[1])};
}

void check_widths(const RowTower& from, size_t output, const RowTower& to, size_t input) {
  if (from.output_width(output) == to.input_width(input)) return;
  fail_argument("tower '" + from.name() + "' gives rows of " + std::to_string(from.output_width(output)) +
                " floats, but tower '" + to.name() + "' takes rows of " + std::to_string(to.input_width(input)));
}

}  // namespace pocketuni
