#include "graph/backbone.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace pocketuni {
namespace {

constexpr uint32_t kUnknown = 0xFFFFFFFF;

/// Lists of these names hold dims (docs/format.md, "Operators").
bool holds_dims(const Attribute& attribute) {
  return attribute.name == "shape" || attribute.name == "starts" || attribute.name == "ends";
}

void append(std::string& key, const void* data, size_t bytes) { key.append(static_cast<const char*>(data), bytes); }
template <typename T>
void append(std::string& key, T number) {
  append(key, &number, sizeof number);
}

/// Numbers the values of towers one after the other, so that equal ones have equal numbers.
class Numbering {
 public:
  explicit Numbering(uint32_t first_free) : next_(first_free) {}

  /// Where a value was computed first.
  struct Origin {
    size_t tower;
    uint32_t value;
    uint32_t number;
    bool reads_weights;  // it, or what it is computed from
  };

  /// Numbers the results of the next tower's nodes: [node] -> where each was computed first. The pointers stay valid.
  std::vector<const Origin*> add(const Model::Tower& tower, size_t place, const std::vector<uint32_t>& inputs) {
    const TowerSpec& spec = *tower.spec;
    std::vector<uint32_t> numbers(spec.values.size(), kUnknown);
    for (size_t i = 0; i < inputs.size(); ++i) numbers[spec.inputs[i]] = inputs[i];
    const std::vector<uint32_t> dims = number_dims(spec, inputs);
    std::vector<const Origin*> origins;
    for (size_t n = 0; n < spec.nodes.size(); ++n) {
      const NodeSpec& node = spec.nodes[n];
      const auto [entry, is_new] = known_.try_emplace(key_of(node, numbers, dims), Origin{});
      Origin& origin = entry->second;
      if (is_new) origin = {place, node.outputs[0], next_++, reads_weights(tower, n, numbers)};
      if (is_new && origin.reads_weights) weighty_.insert(origin.number);
      numbers[node.outputs[0]] = origin.number;
      origins.push_back(&origin);
    }
    return origins;
  }

 private:
  /// Numbers of named dimensions: one that inputs with the same number carry on the same axis is the same.
  std::vector<uint32_t> number_dims(const TowerSpec& spec, const std::vector<uint32_t>& inputs) {
    std::vector<uint32_t> dims(spec.named_dims.size(), kUnknown);
    const auto each = [&](auto visit) {
      for (size_t i = 0; i < inputs.size(); ++i) {
        const std::vector<Dim>& shape = spec.values[spec.inputs[i]].dims;
        for (size_t d = 0; d < shape.size(); ++d) {
          if (shape[d] < kComputed) visit(static_cast<size_t>(-2 - shape[d]), std::make_pair(inputs[i], d));
        }
      }
    };
    each([&](size_t dim, const std::pair<uint32_t, size_t>& axis) {
      const auto found = axes_.find(axis);
      if (dims[dim] == kUnknown && found != axes_.end()) dims[dim] = found->second;
    });
    for (uint32_t& dim : dims) dim = dim == kUnknown ? next_++ : dim;
    each([&](size_t dim, const std::pair<uint32_t, size_t>& axis) { axes_.insert({axis, dims[dim]}); });
    return dims;
  }

  static std::string key_of(const NodeSpec& node, const std::vector<uint32_t>& numbers,
                            const std::vector<uint32_t>& dims) {
    std::string key = node.op + '\0';
    for (const Operand& operand : node.inputs) {
      append(key, static_cast<uint32_t>(operand.kind));
      append(key, operand.kind == Operand::kValue ? numbers[operand.index] : operand.index);
    }
    std::vector<const Attribute*> sorted;
    for (const Attribute& attribute : node.attributes) sorted.push_back(&attribute);
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
    for (const Attribute* attribute : sorted) {
      key += attribute->name + '\0';
      append(key, attribute->value.index());
      if (const auto* integer = std::get_if<int64_t>(&attribute->value)) append(key, *integer);
      if (const auto* real = std::get_if<double>(&attribute->value)) append(key, *real);
      if (const auto* text = std::get_if<std::string>(&attribute->value)) key += *text + '\0';
      const auto* list = std::get_if<std::vector<int64_t>>(&attribute->value);
      if (list == nullptr) continue;
      append(key, list->size());
      for (int64_t item : *list) {
        const bool named = holds_dims(*attribute) && item < kComputed && -2 - item < static_cast<int64_t>(dims.size());
        append(key, named);
        append(key, named ? int64_t{dims[static_cast<size_t>(-2 - item)]} : item);
      }
    }
    return key;
  }

  bool reads_weights(const Model::Tower& tower, size_t n, const std::vector<uint32_t>& numbers) const {
    for (size_t i = 0; i < tower.operands[n].size(); ++i) {
      const TensorEntry* tensor = tower.operands[n][i].tensor;
      if (tensor != nullptr && (tensor->encoding >= Encoding::kGemmF32 || tensor->dims.size() > 1)) return true;
      const Operand& operand = tower.spec->nodes[n].inputs[i];
      if (operand.kind == Operand::kValue && weighty_.count(numbers[operand.index]) != 0) return true;
    }
    return false;
  }

  uint32_t next_;
  std::map<std::string, Origin> known_;
  std::map<std::pair<uint32_t, size_t>, uint32_t> axes_;  // (number of an input, axis) -> number of its dimension
  std::set<uint32_t> weighty_;                            // numbers of values that weights go into
};

/// Output place of a value of a part; appended when it is none yet.
size_t give(PartTower& part, uint32_t value) {
  std::vector<uint32_t>& outputs = part.spec.outputs;
  const auto found = std::find(outputs.begin(), outputs.end(), value);
  if (found == outputs.end()) outputs.push_back(value);
  return static_cast<size_t>(std::find(outputs.begin(), outputs.end(), value) - outputs.begin());
}

/// The value becomes an input; sizes that only a run knows become named dimensions.
void take(PartTower& part, uint32_t value, const PartTower::Source& source) {
  ValueSpec& spec = part.spec.values[value];
  for (size_t d = 0; d < spec.dims.size(); ++d) {
    if (spec.dims[d] != kComputed) continue;
    part.spec.named_dims.push_back(spec.name + "." + std::to_string(d));
    spec.dims[d] = -1 - static_cast<Dim>(part.spec.named_dims.size());
  }
  part.spec.inputs.push_back(value);
  part.taken.push_back(source);
}

/// A part without the nodes that `skip` names.
std::unique_ptr<PartTower> cut(const Model::Tower& whole, const std::vector<bool>& skip) {
  auto part = std::make_unique<PartTower>();
  part->spec = *whole.spec;
  part->own_inputs = part->spec.inputs.size();
  part->own_outputs = part->spec.outputs.size();
  part->tower.spec = &part->spec;
  part->spec.nodes.clear();
  part->spec.states.clear();
  for (size_t n = 0; n < skip.size(); ++n) {
    if (skip[n]) continue;
    part->spec.nodes.push_back(whole.spec->nodes[n]);
    part->tower.ops.push_back(whole.ops[n]);
    part->tower.operands.push_back(whole.operands[n]);
    part->tower.constants.push_back(whole.constants[n]);
  }
  return part;
}

/// Values of skipped nodes that the other nodes, or the tower's caller, read.
std::vector<uint32_t> values_to_take(const TowerSpec& whole, const std::vector<bool>& skip) {
  std::vector<bool> skipped(whole.values.size(), false), taken(whole.values.size(), false);
  for (size_t n = 0; n < skip.size(); ++n) {
    if (skip[n]) skipped[whole.nodes[n].outputs[0]] = true;
  }
  std::vector<uint32_t> values;
  const auto read = [&](uint32_t value) {
    if (skipped[value] && !taken[value]) values.push_back(value);
    taken[value] = taken[value] || skipped[value];
  };
  for (size_t n = 0; n < skip.size(); ++n) {
    for (const Operand& operand : whole.nodes[n].inputs) {
      if (!skip[n] && operand.kind == Operand::kValue) read(operand.index);
    }
  }
  for (uint32_t output : whole.outputs) read(output);
  return values;
}

}  // namespace

std::vector<std::unique_ptr<PartTower>> share_nodes(const std::vector<const Model::Tower*>& towers,
                                                    const std::vector<std::vector<uint32_t>>& same) {
  uint32_t free = 0;
  for (const std::vector<uint32_t>& numbers : same) {
    for (uint32_t number : numbers) free = std::max(free, number + 1);
  }
  Numbering numbering(free);
  std::vector<std::unique_ptr<PartTower>> parts;
  for (size_t t = 0; t < towers.size(); ++t) {
    const std::vector<const Numbering::Origin*> origins = numbering.add(*towers[t], t, same[t]);
    const TowerSpec& spec = *towers[t]->spec;
    std::vector<bool> skip(origins.size());
    std::map<uint32_t, const Numbering::Origin*> by_value;
    bool worth = false;
    for (size_t n = 0; n < skip.size(); ++n) {
      skip[n] = origins[n]->tower < t;
      by_value[spec.nodes[n].outputs[0]] = origins[n];
      worth = worth || (skip[n] && origins[n]->reads_weights);
    }
    if (!worth) skip.assign(skip.size(), false);
    parts.push_back(cut(*towers[t], skip));
    for (uint32_t value : values_to_take(spec, skip)) {
      const Numbering::Origin& origin = *by_value[value];
      take(*parts[t], value, {origin.tower, give(*parts[origin.tower], origin.value)});
    }
  }
  return parts;
}

}  // namespace pocketuni
