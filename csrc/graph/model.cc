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
      check_shapes(*tower);
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
