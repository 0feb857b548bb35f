// STAT: which inputs of a tower are its state, and which outputs give them for the next run.
#include <algorithm>

#include "format/model_parser.h"

namespace pocketuni {
namespace {

/// Whether what one value holds may be put into the other: the same dtype and rank, no dimension that never fits.
bool fits(const ValueSpec& input, const ValueSpec& output) {
  if (input.dtype != output.dtype || input.dims.size() != output.dims.size()) return false;
  for (size_t i = 0; i < input.dims.size(); ++i) {
    const bool open = output.dims[i] == kComputed || input.dims[i] < 0 || output.dims[i] < 0;
    if (!open && input.dims[i] != output.dims[i]) return false;
  }
  return true;
}

}  // namespace

void ModelParser::parse_states() {
  if (find("STAT") == nullptr) return;
  Reader reader = this->reader("STAT");
  const uint32_t count = reader.count(3 * 4, "pairs");
  for (uint32_t i = 0; i < count; ++i) {
    reader.set_place("pair " + std::to_string(i));
    const uint32_t index = reader.u32();
    const StatePair pair{reader.u32(), reader.u32()};
    if (index >= file_.towers_.size()) {
      reader.fail("it names tower " + std::to_string(index) + ", the file has " + std::to_string(file_.towers_.size()));
    }
    TowerSpec& tower = file_.towers_[index];
    if (pair.input >= tower.inputs.size() || pair.output >= tower.outputs.size()) {
      reader.fail("input " + std::to_string(pair.input) + " or output " + std::to_string(pair.output) +
                  " is not one of tower " + quoted(tower.name));
    }
    const ValueSpec &input = tower.values[tower.inputs[pair.input]], &output = tower.values[tower.outputs[pair.output]];
    const bool twice = std::any_of(tower.states.begin(), tower.states.end(), [&](const StatePair& other) {
      return other.input == pair.input || other.output == pair.output;
    });
    if (twice) reader.fail("input " + quoted(input.name) + " or output " + quoted(output.name) + " is in two pairs");
    if (!fits(input, output)) {
      reader.fail("output " + quoted(output.name) + " does not fit input " + quoted(input.name));
    }
    tower.states.push_back(pair);
  }
  reader.set_place("");
  reader.expect_end();
}

}  // namespace pocketuni
