// Types of all values of a tower, for the sizes of one run.
#include "graph/shapes.h"

#include "base/error.h"

namespace pocketuni {
namespace {

int64_t resolve(Dim dim, const std::vector<int64_t>& named_dims) {
  return dim <= -2 ? named_dims[static_cast<size_t>(-2 - dim)] : dim;
}

/// "tower 'text' does not take batch = 2, sequence = 600: ", or only its name when it has no named dimensions.
std::string sizes_title(const TowerSpec& spec, const std::vector<int64_t>& named_dims) {
  std::string text = "tower '" + spec.name + "'";
  for (size_t i = 0; i < named_dims.size(); ++i) {
    text += (i ? ", " : " does not take ") + spec.named_dims[i] + " = " + std::to_string(named_dims[i]);
  }
  return text + ": ";
}

bool is_what_the_file_says(const ValueSpec& value, const TensorType& type, const std::vector<int64_t>& named_dims) {
  if (type.dtype != value.dtype || type.shape.size() != value.dims.size()) return false;
  for (size_t d = 0; d < value.dims.size(); ++d) {
    if (value.dims[d] != kComputed && resolve(value.dims[d], named_dims) != type.shape[d]) return false;
  }
  return true;
}

}  // namespace

std::string node_title(const NodeSpec& node) { return "node '" + node.name + "' (" + node.op + "): "; }

std::string contradiction(const ValueSpec& value, const TensorType& result, const std::vector<int64_t>& named_dims) {
  std::string expected;
  for (Dim dim : value.dims) {
    expected += (expected.empty() ? "" : ", ") + (dim == kComputed ? "?" : std::to_string(resolve(dim, named_dims)));
  }
  return "its result '" + value.name + "' comes out as " + dtype_name(result.dtype) + " " + shape_text(result.shape) +
         ", which is not what the file says: expected " + dtype_name(value.dtype) + " [" + expected + "]";
}

std::vector<InputInfo> operand_infos(const Model::Tower& tower, size_t node, const std::vector<TensorType>& types) {
  std::vector<InputInfo> infos = tower.operands[node];
  const std::vector<Operand>& inputs = tower.spec->nodes[node].inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].kind == Operand::kValue) infos[i].type = types[inputs[i].index];
  }
  return infos;
}

std::vector<TensorType> infer_types(const Model::Tower& tower, const std::vector<int64_t>& named_dims) {
  const TowerSpec& spec = *tower.spec;
  std::vector<TensorType> types(spec.values.size());
  for (uint32_t input : spec.inputs) {
    types[input].dtype = spec.values[input].dtype;
    for (Dim dim : spec.values[input].dims) types[input].shape.push_back(resolve(dim, named_dims));
    element_count(types[input].shape);
  }
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    const NodeSpec& node = spec.nodes[n];
    try {
      const std::vector<TensorType> results = tower.ops[n]->infer(operand_infos(tower, n, types), named_dims);
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        const ValueSpec& value = spec.values[node.outputs[i]];
        element_count(results[i].shape);
        if (!is_what_the_file_says(value, results[i], named_dims)) {
          fail_argument(contradiction(value, results[i], named_dims));
        }
        types[node.outputs[i]] = results[i];
      }
    } catch (const Error& error) {
      fail_argument(sizes_title(spec, named_dims) + node_title(node) + error.what());
    }
  }
  return types;
}

}  // namespace pocketuni
