#include "graph/parts.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "base/error.h"

namespace pocketuni {
namespace {

constexpr size_t kCuts = 8;
// A part should be large enough that reading the weights once for it does not count, and small enough for the cache.
constexpr int64_t kRowsForWeights = 96, kRowsAtLeast = 48;
constexpr int64_t kBytesInCache = 3 << 19;
// Rows that are computed for windows' sake alone: few beside a part's own, and where threads share them, beside all.
constexpr int64_t kRowsPerSpare = 8, kElementsPerSpare = 4;
constexpr int64_t kBytesBeyondCache = 16 << 20;

int64_t bytes_of(const TensorType& type) {
  return element_count(type.shape) * static_cast<int64_t>(dtype_size(type.dtype));
}

/// Whether elements of a batch do not mix, judged by the types for two sizes of it: each value either has the batch as
/// its first axis or nothing of it, and each node keeps elements apart.
bool elements_are_apart(const Model::Tower& tower, const std::vector<TensorType>& large, int64_t large_size,
                        const std::vector<TensorType>& small, int64_t small_size) {
  const TowerSpec& spec = *tower.spec;
  std::vector<int> axes(spec.values.size(), -1);
  for (size_t v = 0; v < axes.size(); ++v) {
    const Shape &a = large[v].shape, &b = small[v].shape;
    if (a == b) continue;
    if (a.size() != b.size() || a[0] != large_size || b[0] != small_size) return false;
    if (!std::equal(a.begin() + 1, a.end(), b.begin() + 1)) return false;
    axes[v] = 0;
  }
  const auto has_batch = [&](uint32_t value) { return axes[value] == 0; };
  if (!std::all_of(spec.inputs.begin(), spec.inputs.end(), has_batch)) return false;
  if (!std::all_of(spec.outputs.begin(), spec.outputs.end(), has_batch)) return false;
  for (size_t n = 0; n < spec.nodes.size(); ++n) {
    std::vector<int> input_axes;
    for (const Operand& operand : spec.nodes[n].inputs) {
      input_axes.push_back(operand.kind == Operand::kValue ? axes[operand.index] : -1);
    }
    const bool reads = std::find(input_axes.begin(), input_axes.end(), 0) != input_axes.end();
    const bool makes = std::any_of(spec.nodes[n].outputs.begin(), spec.nodes[n].outputs.end(), has_batch);
    if (!reads && !makes) continue;
    if (!makes || input_axes.empty()) return false;
    const TimeMap map = tower.ops[n]->time_map(operand_infos(tower, n, large), input_axes);
    if (map.kind != TimeMap::kRows && map.kind != TimeMap::kBatch) return false;
  }
  return true;
}

/// Rows of the largest product of one element.
int64_t most_rows(const std::vector<TensorType>& types) {
  int64_t most = 1;
  for (const TensorType& type : types) {
    if (!type.shape.empty() && type.shape.back() > 0) {
      most = std::max(most, element_count(type.shape) / type.shape.back());
    }
  }
  return most;
}

}  // namespace

Parts::Parts(const Model::Tower& tower, const Kernels* kernels, ThreadPool* pool) : tower_(tower), pool_(pool) {
  for (int i = 0; i < pool->size(); ++i) lanes_.push_back(std::make_unique<Lane>(tower, kernels, &alone_));
}

void Parts::cut_batch(Cut& cut, const std::vector<TensorType>& all) {
  const TowerSpec& spec = *tower_.spec;
  if (spec.inputs.empty() || spec.values[spec.inputs[0]].dims.empty()) return;
  const int64_t first = spec.values[spec.inputs[0]].dims[0];
  if (first > -2) return;
  cut.dim = static_cast<size_t>(-2 - first);
  cut.elements = cut.rows = cut.named_dims[cut.dim];
  const int64_t threads = pool_->size();
  if (cut.elements < std::max<int64_t>(2, threads)) return;
  std::vector<int64_t> dims = cut.named_dims;
  dims[cut.dim] = 1;
  const std::vector<TensorType> one = infer_types(tower_, dims);
  if (!elements_are_apart(tower_, all, cut.elements, one, 1)) return;
  const int64_t rows = most_rows(one);
  const auto arena = static_cast<int64_t>(std::max<size_t>(lanes_[0]->plan(dims).arena_bytes, 1));
  int64_t part = std::max<int64_t>({1, kBytesInCache / arena, (kRowsForWeights + rows - 1) / rows});
  const int64_t share = cut.elements / threads;
  if (part > share) part = threads > 1 && share * rows >= kRowsAtLeast ? share : cut.elements;
  if (part >= cut.elements) return;
  cut.part = part;
  cut.cut_inputs.assign(spec.inputs.size(), 1);
}

/// Decides how many elements a part needs around its own, so that each value has all rows that its readers want.
void Parts::find_reach(Cut& cut, const TimeUnit& unit, const Plan& probe) {
  const int64_t probe_units = probe.named_dims[cut.dim] / cut.unit;
  const std::vector<RowRange> needed = rows_needed(*time_, *tower_.spec, {0, cut.rows_per_unit});
  const auto units = [](int64_t rows, int64_t per_unit) {
    return std::max<int64_t>(0, (rows + per_unit - 1) / per_unit);
  };
  for (size_t v = 0; v < needed.size(); ++v) {
    if (time_->axes[v] < 0 || needed[v].begin >= needed[v].end) continue;
    // Rows that the value has beyond its share, or lacks, at the end of a sequence.
    const int64_t more = probe.types[v].shape[static_cast<size_t>(time_->axes[v])] - probe_units * unit.rows_of[v];
    cut.before = std::max(cut.before, units(-needed[v].begin, unit.rows_of[v]) * cut.unit);
    cut.after = std::max(cut.after, units(needed[v].end - more - unit.rows_of[v], unit.rows_of[v]) * cut.unit);
  }
}

void Parts::cut_time(Cut& cut, const std::vector<TensorType>& all) {
  const TowerSpec& spec = *tower_.spec;
  const int64_t threads = pool_->size();
  const auto longest = std::max_element(cut.named_dims.begin(), cut.named_dims.end());
  if (longest == cut.named_dims.end() || *longest < threads * kRowsAtLeast) return;
  // One thread gains where the whole does not even stay in a large cache, several gain at once.
  int64_t bytes = 0;  // at least what the arena takes
  for (const TensorType& type : all) bytes += bytes_of(type);
  if (threads == 1 && bytes < kBytesBeyondCache) return;
  const TimePlan* time = time_plan();
  if (time == nullptr) return;
  cut.dim = time->dim;
  cut.elements = cut.named_dims[cut.dim];
  const TimeUnit unit = time_unit(*time, spec);
  if (unit.rows == 0 || cut.elements < threads * std::max(unit.rows, kRowsAtLeast)) return;
  for (size_t v = 0; v < all.size(); ++v) {
    for (int d = 0; d < time->axes[v]; ++d) {
      if (all[v].shape[static_cast<size_t>(d)] != 1) return;  // rows of several sequences are no stretch of memory
    }
  }
  const uint32_t output = spec.outputs[0];
  cut.rows = all[output].shape[static_cast<size_t>(time->axes[output])];
  cut.unit = unit.rows, cut.rows_per_unit = unit.rows_of[output];
  const auto whole_units = [&](int64_t rows) { return (rows + cut.unit - 1) / cut.unit * cut.unit; };
  std::vector<int64_t> dims = cut.named_dims;
  dims[cut.dim] = whole_units(kRowsForWeights);
  const Plan& probe = lanes_[0]->plan(dims);
  find_reach(cut, unit, probe);
  const int64_t spare = cut.before + cut.after;
  const auto row_bytes = std::max<int64_t>(static_cast<int64_t>(probe.arena_bytes) / dims[cut.dim], 1);
  if (threads == 1 && cut.elements * row_bytes < kBytesBeyondCache) return;
  const int64_t in_cache = kBytesInCache / row_bytes - spare;
  int64_t part = std::max({in_cache, kRowsForWeights, spare * kRowsPerSpare});
  // As many parts as threads, or a multiple.
  const int64_t parts = (cut.elements + part * threads - 1) / (part * threads) * threads;
  part = whole_units((cut.elements + parts - 1) / parts);
  if (part >= cut.elements || spare * (parts - 1) > cut.elements / kElementsPerSpare) return;
  for (uint32_t input : spec.inputs) cut.cut_inputs.push_back(time->axes[input] >= 0);
  cut.part = part;
}

const TimePlan* Parts::time_plan() {
  if (!time_known_) {
    time_known_ = true;
    try {
      time_ = make_time_plan(tower_);
    } catch (const Error&) {  // it cannot be cut
    }
  }
  return time_ ? &*time_ : nullptr;
}

void Parts::decide(Cut& cut) {
  const TowerSpec& spec = *tower_.spec;
  std::vector<TensorType> types;
  try {
    types = infer_types(tower_, cut.named_dims);
    cut_batch(cut, types);
    if (cut.part == 0) cut_time(cut, types);
  } catch (const Error&) {
    cut.part = 0;  // the shapes work only as a whole, or not at all; the run of the whole says which
  }
  if (cut.part == 0) return;
  for (uint32_t output : spec.outputs) {
    cut.outputs.push_back({types[output], nullptr});
    cut.offsets.push_back(cut.bytes);
    cut.bytes += round64(static_cast<size_t>(bytes_of(types[output])));
  }
}

Parts::Cut& Parts::find_cut(const std::vector<int64_t>& named_dims) {
  for (size_t i = 0; i < cuts_.size(); ++i) {
    if (cuts_[i].named_dims != named_dims) continue;
    std::rotate(cuts_.begin(), cuts_.begin() + static_cast<ptrdiff_t>(i),
                cuts_.begin() + static_cast<ptrdiff_t>(i) + 1);
    return cuts_[0];
  }
  Cut made;
  made.named_dims = named_dims;
  decide(made);
  if (cuts_.size() == kCuts) cuts_.pop_back();
  cuts_.insert(cuts_.begin(), std::move(made));
  return cuts_[0];
}

void Parts::run_part(const Cut& cut, Lane& lane, const std::vector<Tensor>& inputs, int64_t first,
                     std::vector<OpProfile>* profile) {
  const int64_t begin = std::max<int64_t>(0, first - cut.before);
  const int64_t end = std::min(cut.elements, first + cut.part + cut.after);
  std::vector<int64_t> dims = cut.named_dims;
  dims[cut.dim] = end - begin;
  Plan& plan = lane.plan(dims);
  std::vector<const void*> data;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t skipped = cut.cut_inputs[i] ? bytes_of(inputs[i].type) / cut.elements * begin : 0;
    data.push_back(static_cast<const char*>(inputs[i].data) + skipped);
  }
  lane.run(plan, data, profile);
  const int64_t row = first / cut.unit * cut.rows_per_unit, skipped = (first - begin) / cut.unit * cut.rows_per_unit;
  const int64_t left = cut.rows - row, share = cut.part / cut.unit * cut.rows_per_unit;
  const int64_t rows =
      first + cut.part < cut.elements ? std::min(left, share) : left;  // windows may reach past the end
  for (size_t i = 0; i < cut.outputs.size() && rows > 0; ++i) {
    const int64_t row_bytes = bytes_of(cut.outputs[i].type) / cut.rows;
    const auto bytes = static_cast<size_t>(rows * row_bytes);
    if (bytes == 0) continue;
    std::memcpy(static_cast<char*>(cut.outputs[i].data) + row * row_bytes,
                static_cast<const char*>(plan.outputs[i].data) + skipped * row_bytes, bytes);
  }
}

const std::vector<Tensor>* Parts::run(const std::vector<int64_t>& named_dims, const std::vector<Tensor>& inputs,
                                      Lane& whole, std::vector<OpProfile>* profile) {
  Cut& cut = find_cut(named_dims);
  if (cut.part == 0) return nullptr;
  results_.reserve(std::max<size_t>(cut.bytes, 64));
  for (size_t i = 0; i < cut.outputs.size(); ++i) cut.outputs[i].data = results_.data() + cut.offsets[i];

  // Parts that leave no thread idle run beside each other, each on one thread; those left over one by one, with all.
  const int64_t parts = (cut.elements + cut.part - 1) / cut.part, beside = parts / pool_->size() * pool_->size();
  std::vector<std::exception_ptr> faults(static_cast<size_t>(beside));
  std::vector<std::vector<OpProfile>> profiles;
  if (profile != nullptr) {
    profiles.assign(static_cast<size_t>(pool_->size()), std::vector<OpProfile>(profile->size()));
  }
  pool_->parallel(static_cast<int>(beside), [&](int index, int thread) {
    const auto t = static_cast<size_t>(thread);
    try {
      run_part(cut, *lanes_[t], inputs, index * cut.part, profile != nullptr ? &profiles[t] : nullptr);
    } catch (...) {
      faults[static_cast<size_t>(index)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& fault : faults) {
    if (fault != nullptr) std::rethrow_exception(fault);
  }
  // A thread's seconds count by its share of the time that passes.
  for (const std::vector<OpProfile>& part : profiles) {
    for (size_t n = 0; n < part.size(); ++n) {
      (*profile)[n].seconds += part[n].seconds / pool_->size();
    }
  }
  for (int64_t part = beside; part < parts; ++part) run_part(cut, whole, inputs, part * cut.part, profile);
  return &cut.outputs;
}

}  // namespace pocketuni
