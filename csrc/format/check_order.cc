// Each value of a tower is an input or written by exactly one node, before it is read. Nodes run in file order, so a
// graph that passes has no cycles.
#include "format/model_parser.h"

namespace pocketuni {

void check_order(const TowerSpec& tower, const Reader& reader) {
  std::vector<bool> written(tower.values.size());
  const auto name_of = [&](uint32_t value) { return quoted(tower.values[value].name); };
  for (uint32_t input : tower.inputs) {
    if (written[input]) reader.fail("value " + name_of(input) + " is an input twice");
    for (Dim dim : tower.values[input].dims) {
      if (dim == kComputed) reader.fail("input " + name_of(input) + " has a computed dimension");
    }
    written[input] = true;
  }
  for (size_t i = 0; i < tower.nodes.size(); ++i) {
    const NodeSpec& node = tower.nodes[i];
    const auto fail = [&](const std::string& fault) {
      reader.fail("node " + std::to_string(i) + " " + quoted(node.name) + " (" + quoted(node.op) + ") " + fault);
    };
    for (const Operand& operand : node.inputs) {
      if (operand.kind == Operand::kValue && !written[operand.index]) {
        fail("reads value " + name_of(operand.index) + " before it is written");
      }
    }
    for (uint32_t output : node.outputs) {
      if (written[output]) fail("writes value " + name_of(output) + ", which is written already");
      written[output] = true;
    }
  }
  for (uint32_t output : tower.outputs) {
    if (!written[output]) reader.fail("output " + name_of(output) + " is never written");
  }
  for (uint32_t value = 0; value < written.size(); ++value) {
    if (!written[value]) reader.fail("value " + name_of(value) + " is never written");
  }
}

}  // namespace pocketuni
