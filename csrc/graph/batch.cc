#include "graph/batch.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "base/error.h"

namespace pocketuni {
namespace {

constexpr size_t kCuts = 8;
// A part should be large enough that reading the weights once for it does not count, and small enough for the cache.
constexpr int64_t kRowsForWeights = 96, kRowsAtLeast = 48;
constexpr size_t kBytesInCache = 3 << 19;

size_t bytes_of(const TensorType& type) {
  return static_cast<size_t>(element_count(type.shape)) * dtype_size(type.dtype);
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

Batch::Batch(const Model::Tower& tower, const Kernels* kernels, ThreadPool* pool) : tower_(tower), pool_(pool) {
  for (int i = 0; i < pool->size(); ++i) lanes_.push_back(std::make_unique<Lane>(tower, kernels, &alone_));
}

int64_t Batch::part_size(const Cut& cut, const std::vector<TensorType>& all) {
  const int64_t elements = cut.elements, threads = pool_->size();
  std::vector<int64_t> dims = cut.named_dims;
  dims[cut.dim] = 1;
  const std::vector<TensorType> one = infer_types(tower_, dims);
  if (!elements_are_apart(tower_, all, elements, one, 1)) return 0;
  const int64_t rows = most_rows(one);
  const auto arena = static_cast<int64_t>(std::max<size_t>(lanes_[0]->plan(dims).arena_bytes, 1));
  int64_t part =
      std::max<int64_t>({1, static_cast<int64_t>(kBytesInCache) / arena, (kRowsForWeights + rows - 1) / rows});
  const int64_t share = elements / threads;
  if (part > share) part = threads > 1 && share * rows >= kRowsAtLeast ? share : elements;
  return part < elements ? part : 0;
}

void Batch::decide(Cut& cut) {
  const TowerSpec& spec = *tower_.spec;
  if (spec.inputs.empty() || spec.values[spec.inputs[0]].dims.empty()) return;
  const int64_t first = spec.values[spec.inputs[0]].dims[0];
  if (first > -2) return;
  cut.dim = static_cast<size_t>(-2 - first);
  cut.elements = cut.named_dims[cut.dim];
  if (cut.elements < std::max(2, pool_->size())) return;
  std::vector<TensorType> types;
  try {
    types = infer_types(tower_, cut.named_dims);
    cut.part = part_size(cut, types);
  } catch (const Error&) {
    return;  // the shapes work only as a whole, or not at all; the run of the whole says which
  }
  if (cut.part == 0) return;
  for (uint32_t output : spec.outputs) {
    cut.outputs.push_back({types[output], nullptr});
    cut.offsets.push_back(cut.bytes);
    cut.bytes += round64(bytes_of(types[output]));
  }
}

Batch::Cut& Batch::find_cut(const std::vector<int64_t>& named_dims) {
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

void Batch::run_part(const Cut& cut, Lane& lane, const std::vector<Tensor>& inputs, int64_t first,
                     std::vector<OpProfile>* profile) {
  std::vector<int64_t> dims = cut.named_dims;
  dims[cut.dim] = std::min(cut.part, cut.elements - first);
  Plan& plan = lane.plan(dims);
  std::vector<const void*> data;
  for (const Tensor& input : inputs) {
    data.push_back(static_cast<const char*>(input.data) + bytes_of(input.type) / cut.elements * first);
  }
  lane.run(plan, data, profile);
  for (size_t i = 0; i < cut.outputs.size(); ++i) {
    const size_t element = bytes_of(cut.outputs[i].type) / static_cast<size_t>(cut.elements);
    const size_t at = element * static_cast<size_t>(first), bytes = bytes_of(plan.outputs[i].type);
    if (bytes > 0) std::memcpy(static_cast<char*>(cut.outputs[i].data) + at, plan.outputs[i].data, bytes);
  }
}

const std::vector<Tensor>* Batch::run(const std::vector<int64_t>& named_dims, const std::vector<Tensor>& inputs,
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
