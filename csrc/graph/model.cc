#include <algorithm>
#include <map>

#include "base/error.h"
#include "graph/session.h"
#include "graph/tower.h"

namespace pocketuni {
namespace {

DType plain_dtype(Encoding encoding) {
  switch (encoding) {
    case Encoding::kI32:
      return DType::kI32;
    case Encoding::kI64:
      return DType::kI64;
    case Encoding::kBool:
      return DType::kBool;
    default:
      return DType::kF32;
  }
}

}  // namespace

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
  const auto resolve = [&](Dim dim) { return dim <= -2 ? named_dims[static_cast<size_t>(-2 - dim)] : dim; };
  for (uint32_t input : spec.inputs) {
    types[input].dtype = spec.values[input].dtype;
    for (Dim dim : spec.values[input].dims) types[input].shape.push_back(resolve(dim));
    element_count(types[input].shape);
  }
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    const NodeSpec& node = spec.nodes[n];
    const std::string where = "node '" + node.name + "' (" + node.op + "): ";
    std::vector<TensorType> results;
    try {
      results = tower.ops[n]->infer(operand_infos(tower, n, types), named_dims);
      for (const TensorType& type : results) element_count(type.shape);
    } catch (const Error& error) {
      fail_argument(where + error.what());
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueSpec& value = spec.values[node.outputs[i]];
      bool same = results[i].dtype == value.dtype && results[i].shape.size() == value.dims.size();
      for (size_t d = 0; same && d < value.dims.size(); ++d) {
        same = value.dims[d] == kComputed || resolve(value.dims[d]) == results[i].shape[d];
      }
      if (!same) {
        fail_argument(where + "its result '" + value.name + "' comes out as " + dtype_name(results[i].dtype) + " " +
                      shape_text(results[i].shape) + ", which is not what the file says");
      }
      types[node.outputs[i]] = results[i];
    }
  }
  return types;
}

namespace {

/// Binds the operands of a node; half-precision constants are widened once, into `widened`.
void bind_operands(const ModelFile& file, const TowerSpec& spec, const NodeSpec& node, Model::Tower& tower,
                   std::map<uint32_t, std::vector<float>>& widened) {
  std::vector<InputInfo> infos;
  std::vector<const void*> constants;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Operand& operand = node.inputs[i];
    InputInfo info;
    const void* data = nullptr;
    info.present = operand.kind != Operand::kAbsent;
    if (operand.kind == Operand::kValue) info.type.dtype = spec.values[operand.index].dtype;
    if (operand.kind == Operand::kTensor) {
      info.tensor = &file.tensors()[operand.index];
      info.type = {plain_dtype(info.tensor->encoding), info.tensor->dims};
      const bool table = node.op == "embedding" && i == 1;
      if (info.tensor->encoding == Encoding::kF16 && !table) {
        std::vector<float>& wide = widened[operand.index];
        if (wide.empty()) {
          wide.resize(static_cast<size_t>(element_count(info.tensor->dims)));
          find_kernels("ref")->f16_to_f32(reinterpret_cast<const uint16_t*>(info.tensor->data), wide.data(),
                                          wide.size());
        }
        data = wide.data();
      } else if (info.tensor->encoding <= Encoding::kBool) {
        data = info.tensor->data;
      }
    }
    infos.push_back(info);
    constants.push_back(data);
  }
  tower.operands.push_back(std::move(infos));
  tower.constants.push_back(std::move(constants));
}

/// Runs shape inference with several sizes for the named dimensions. A size may be impossible for a valid graph (longer
/// than its position table, say), so one that works is enough; a result that contradicts the file never is.
void probe_shapes(const Model::Tower& tower) {
  const size_t names = tower.spec->named_dims.size();
  std::string fault;
  bool works = false;
  for (int probe = 0; probe < 4 && (probe == 0 || names > 0); ++probe) {
    std::vector<int64_t> dims(names);
    for (size_t i = 0; i < names; ++i)
      dims[i] = std::vector<int64_t>{2, 1, 8, 16}[probe] + (probe == 1 ? 0 : static_cast<int64_t>(i));
    try {
      infer_types(tower, dims);
      works = true;
    } catch (const Error& error) {
      fault = error.what();
      if (fault.find("not what the file says") != std::string::npos) fail_format(fault);
    }
  }
  if (!works) fail_format(fault);
}

}  // namespace

Model::Model(std::shared_ptr<const ModelFile> file) : file_(std::move(file)) {}
Model::~Model() = default;

std::shared_ptr<const Model> Model::open(const std::string& path) { return make(ModelFile::open(path)); }
std::shared_ptr<const Model> Model::from_memory(const void* data, size_t size) {
  return make(ModelFile::from_memory(data, size));
}

std::shared_ptr<const Model> Model::make(std::shared_ptr<const ModelFile> file) {
  std::shared_ptr<Model> model(new Model(std::move(file)));
  for (const TowerSpec& spec : model->file_->towers()) {
    try {
      auto tower = std::make_unique<Tower>();
      tower->spec = &spec;
      for (const NodeSpec& node : spec.nodes) {
        bind_operands(*model->file_, spec, node, *tower, model->widened_);
        tower->ops.push_back(make_op(node, tower->operands.back()));
      }
      probe_shapes(*tower);
      model->towers_.push_back(std::move(tower));
    } catch (const Error& error) {
      throw Error(error.status(), model->file_->path() + ": tower '" + spec.name + "': " + error.what());
    }
  }
  return model;
}

size_t Model::tower_index(const std::string& name) const {
  std::string known;
  for (size_t i = 0; i < towers_.size(); ++i) {
    if (towers_[i]->spec->name == name) return i;
    known += (i ? ", " : "") + towers_[i]->spec->name;
  }
  fail_argument(file_->path() + " has no tower '" + name + "'; it has: " + (known.empty() ? "none" : known));
}

}  // namespace pocketuni
