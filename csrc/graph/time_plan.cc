#include "graph/time_plan.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace pocketuni {
namespace {

// Sizes of time for which shapes are compared: odd, even and prime, so that no rounding agrees on all by chance. Towers
// that leave one row of hundreds show their rates only at larger ones, which others have no room for.
constexpr int64_t kSizes[] = {61, 96, 150, 233};
constexpr int64_t kScales[] = {1, 256};

constexpr int64_t kFar = int64_t{1} << 40;
constexpr RowRange kNoRows{kFar, -kFar};  // changes nothing that it is joined with

RowRange join(RowRange a, RowRange b) { return {std::min(a.begin, b.begin), std::max(a.end, b.end)}; }

int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

struct Probe {
  const Model::Tower& tower;
  std::vector<std::vector<TensorType>> types;  // [size][value]

  Probe(const Model::Tower& t, size_t dim, int64_t scale) : tower(t) {
    for (int64_t size : kSizes) {
      std::vector<int64_t> dims(tower.spec->named_dims.size(), 1);
      dims[dim] = size * scale;
      types.push_back(infer_types(tower, dims));
    }
  }

  /// The axis of a value whose size changes, or -1. Throws when several do, or when rows along it are not contiguous.
  int axis(uint32_t value) const {
    const Shape &a = types[0][value].shape, &b = types[1][value].shape;
    int axis = -1;
    for (size_t d = 0; d < a.size(); ++d) {
      if (a[d] == b[d]) continue;
      if (axis >= 0) fail_argument("two dimensions of '" + name(value) + "' follow the time");
      axis = static_cast<int>(d);
      for (size_t i = 0; i < d; ++i) {
        if (a[i] != 1) {
          fail_argument("'" + name(value) + "' is " + shape_text(a) +
                        ", but only dimensions of 1 may stand before time");
        }
      }
    }
    return axis;
  }

  bool same_rows(uint32_t a, int axis_a, uint32_t b, int axis_b) const {
    return std::all_of(types.begin(), types.end(), [&](const std::vector<TensorType>& t) {
      return t[a].shape[static_cast<size_t>(axis_a)] == t[b].shape[static_cast<size_t>(axis_b)];
    });
  }

  const std::string& name(uint32_t value) const { return tower.spec->values[value].name; }
};

/// How a node depends on time; throws without naming it.
TimeMap map_node(const Probe& probe, size_t n, const std::vector<int>& axes) {
  const NodeSpec& node = probe.tower.spec->nodes[n];
  const uint32_t result = node.outputs[0];
  std::vector<int> input_axes;
  bool timed = axes[result] >= 0;
  for (const Operand& operand : node.inputs) {
    input_axes.push_back(operand.kind == Operand::kValue ? axes[operand.index] : -1);
    timed = timed || input_axes.back() >= 0;
  }
  if (!timed) return {};
  if (axes[result] < 0) fail_argument("its result needs the whole sequence");
  const TimeMap map = probe.tower.ops[n]->time_map(operand_infos(probe.tower, n, probe.types[0]), input_axes);
  if (map.kind == TimeMap::kNone || map.kind == TimeMap::kBatch)
    fail_argument("a row of its result depends on the whole sequence");
  for (size_t i = map.kind == TimeMap::kWindow ? 1 : 0; i < node.inputs.size(); ++i) {
    if (input_axes[i] < 0) continue;
    const uint32_t input = node.inputs[i].index;
    if (!probe.same_rows(input, input_axes[i], result, axes[result])) {
      fail_argument("'" + probe.name(input) + "' and its result differ in rows");
    }
  }
  return map;
}

TimePlan plan_along(const Model::Tower& tower, size_t dim, int64_t scale) {
  const TowerSpec& spec = *tower.spec;
  const Probe probe(tower, dim, scale);
  TimePlan plan;
  plan.dim = dim;
  plan.axes.assign(spec.values.size(), -1);
  plan.last_reader.assign(spec.values.size(), 0);
  for (uint32_t input : spec.inputs) plan.axes[input] = probe.axis(input);
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    const NodeSpec& node = spec.nodes[n];
    try {
      plan.axes[node.outputs[0]] = probe.axis(node.outputs[0]);
      plan.maps.push_back(map_node(probe, n, plan.axes));
    } catch (const Error& error) {
      fail_argument("node '" + node.name + "' (" + node.op + "): " + error.what());
    }
    plan.last_reader[node.outputs[0]] = n;
    for (const Operand& operand : node.inputs) {
      if (operand.kind == Operand::kValue) plan.last_reader[operand.index] = n;
    }
  }
  if (spec.outputs.empty()) fail_argument("there is no output");
  for (uint32_t output : spec.outputs) {
    if (plan.axes[output] < 0 ||
        !probe.same_rows(output, plan.axes[output], spec.outputs[0], plan.axes[spec.outputs[0]])) {
      fail_argument("output '" + spec.values[output].name + "' does not have as many rows along time as the first one");
    }
    plan.last_reader[output] = spec.nodes.size();
  }
  return plan;
}

}  // namespace

RowRange rows_read(const TimeMap& map, RowRange result) {
  if (map.kind != TimeMap::kWindow || result.begin >= result.end) return result;
  return {floor_divide(result.begin * map.down + map.first, map.up),
          floor_divide((result.end - 1) * map.down + map.last, map.up) + 1};
}

int64_t rows_possible(const TimeMap& map, int64_t rows) {
  if (map.kind != TimeMap::kWindow) return rows;
  return std::max<int64_t>(0, floor_divide(rows * map.up - 1 - map.last, map.down) + 1);
}

std::vector<RowRange> rows_needed(const TimePlan& plan, const TowerSpec& spec, RowRange results) {
  std::vector<RowRange> read(spec.values.size(), kNoRows);
  const auto widen = [&](uint32_t value, RowRange range) { read[value] = join(read[value], range); };
  for (uint32_t output : spec.outputs) widen(output, results);
  for (size_t n = spec.nodes.size(); n-- > 0;) {
    const RowRange result = read[spec.nodes[n].outputs[0]];
    if (result.begin >= result.end) continue;
    for (size_t i = 0; i < spec.nodes[n].inputs.size(); ++i) {
      const Operand& operand = spec.nodes[n].inputs[i];
      if (operand.kind == Operand::kValue) widen(operand.index, i == 0 ? rows_read(plan.maps[n], result) : result);
    }
  }
  return read;
}

RowRange input_rows(const TimePlan& plan, const TowerSpec& spec, int64_t row) {
  const std::vector<RowRange> read = rows_needed(plan, spec, {row, row + 1});
  RowRange all = kNoRows;
  for (uint32_t input : spec.inputs) {
    if (plan.axes[input] >= 0) all = join(all, read[input]);
  }
  return all.begin < all.end ? all : RowRange{row, row};
}

TimeUnit time_unit(const TimePlan& plan, const TowerSpec& spec) {
  constexpr int64_t kMost = 1 << 20;
  struct Rate {  // rows of a value for rows of time, in lowest terms
    int64_t rows, time;
  };
  std::vector<Rate> rates(spec.values.size(), {1, 1});
  TimeUnit unit{1, {}};
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    const NodeSpec& node = spec.nodes[n];
    if (plan.axes[node.outputs[0]] < 0) continue;
    const auto timed = std::find_if(node.inputs.begin(), node.inputs.end(), [&](const Operand& operand) {
      return operand.kind == Operand::kValue && plan.axes[operand.index] >= 0;
    });
    if (timed == node.inputs.end()) return {};
    Rate rate = rates[timed->index];
    const TimeMap& map = plan.maps[n];
    if (map.kind == TimeMap::kWindow) rate = {rate.rows * map.up, rate.time * map.down};
    const int64_t common = std::gcd(rate.rows, rate.time);
    rate = {rate.rows / common, rate.time / common};
    if (rate.rows > kMost || rate.time > kMost) return {};
    unit.rows = std::lcm(unit.rows, rate.time);
    if (unit.rows > kMost) return {};
    rates[node.outputs[0]] = rate;
  }
  for (const Rate& rate : rates) unit.rows_of.push_back(unit.rows / rate.time * rate.rows);
  return unit;
}

TimePlan make_time_plan(const Model::Tower& tower) {
  const TowerSpec& spec = *tower.spec;
  TimePlan best;
  int depth = -1;
  std::string faults;
  for (size_t dim = 0; dim < spec.named_dims.size(); ++dim) {
    std::string fault;
    for (int64_t scale : kScales) {
      try {
        TimePlan plan = plan_along(tower, dim, scale);
        int deepest = -1;
        for (uint32_t input : spec.inputs) deepest = std::max(deepest, plan.axes[input]);
        if (deepest > depth) best = std::move(plan), depth = deepest;
        fault.clear();
        break;
      } catch (const Error& error) {
        if (fault.empty()) fault = "; along '" + spec.named_dims[dim] + "': " + error.what();
      }
    }
    faults += fault;
  }
  if (depth < 0) {
    fail_argument("tower '" + spec.name + "' cannot run in chunks" +
                  (faults.empty() ? ": no input has a named dimension" : faults));
  }
  return best;
}

}  // namespace pocketuni
