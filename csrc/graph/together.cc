#include "graph/together.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "graph/backbone.h"

namespace pocketuni {
namespace {

constexpr size_t kLayouts = 4;  // patterns of equal inputs that are kept ready
constexpr int kTries = 4;       // runs of each way; the first one makes plans and does not count

using Clock = std::chrono::steady_clock;
using Numbers = std::vector<std::vector<uint32_t>>;
using Inputs = std::vector<std::vector<Tensor>>;

bool equal(const Tensor& a, const Tensor& b) {
  if (a.type.dtype != b.type.dtype || a.type.shape != b.type.shape) return false;
  const size_t bytes = static_cast<size_t>(element_count(a.type.shape)) * dtype_size(a.type.dtype);
  return a.data == b.data || (a.data != nullptr && b.data != nullptr && std::memcmp(a.data, b.data, bytes) == 0);
}

/// Numbers inputs so that equal ones have equal numbers.
Numbers number_inputs(const Inputs& inputs) {
  Numbers numbers;
  std::vector<const Tensor*> seen;
  for (const std::vector<Tensor>& tower : inputs) {
    numbers.emplace_back();
    for (const Tensor& tensor : tower) {
      const auto found = std::find_if(seen.begin(), seen.end(), [&](const Tensor* s) { return equal(*s, tensor); });
      numbers.back().push_back(static_cast<uint32_t>(found - seen.begin()));
      if (found == seen.end()) seen.push_back(&tensor);
    }
  }
  return numbers;
}

/// Groups of parts that take values from each other, in the order of their first towers.
std::vector<std::vector<size_t>> find_groups(const std::vector<std::unique_ptr<PartTower>>& parts) {
  std::vector<size_t> group(parts.size());
  std::iota(group.begin(), group.end(), size_t{0});
  for (size_t t = 0; t < parts.size(); ++t) {
    for (const PartTower::Source& source : parts[t]->taken) {
      const size_t from = std::max(group[t], group[source.tower]), to = std::min(group[t], group[source.tower]);
      std::replace(group.begin(), group.end(), from, to);
    }
  }
  std::vector<std::vector<size_t>> groups;
  for (size_t g = 0; g < parts.size(); ++g) {
    std::vector<size_t> members;
    for (size_t t = 0; t < parts.size(); ++t) {
      if (group[t] == g) members.push_back(t);
    }
    if (!members.empty()) groups.push_back(std::move(members));
  }
  return groups;
}

/// Sessions over all parts. `beside` 1: group after group with all threads; more: so many groups at a time.
struct Way {
  ThreadPool outer;
  std::vector<std::unique_ptr<ThreadPool>> pools;  // [group, or one for all]
  std::vector<std::unique_ptr<Session>> sessions;  // [part]
  double best_seconds = std::numeric_limits<double>::infinity();
  int runs = 0;

  Way(const std::shared_ptr<const Model>& model, const std::vector<std::unique_ptr<PartTower>>& parts,
      const std::vector<std::vector<size_t>>& groups, const Kernels* kernels, int threads, int beside)
      : outer(beside), sessions(parts.size()) {
    for (size_t g = 0; g < groups.size(); ++g) {
      if (g == 0 || beside > 1) pools.push_back(std::make_unique<ThreadPool>(std::max(1, threads / beside)));
      for (size_t t : groups[g]) {
        sessions[t] = std::make_unique<Session>(model, parts[t]->tower, kernels, *pools.back());
      }
    }
  }
};

void add(std::vector<OpProfile>& to, const std::vector<OpProfile>& from) {
  for (size_t n = 0; n < to.size(); ++n) to[n].seconds += from[n].seconds, to[n].runs += from[n].runs;
}

/// Everything for one pattern of equal inputs.
struct Layout {
  Numbers numbers;
  std::vector<std::unique_ptr<PartTower>> parts;
  std::vector<std::vector<size_t>> groups;
  std::unique_ptr<Way> ways[2];                 // one after the other; beside each other. Null: not wanted
  std::vector<std::vector<OpProfile>> dropped;  // [part]: what a way had counted that is gone
  bool profiling = false;

  Layout(const std::shared_ptr<const Model>& model, const std::vector<const Model::Tower*>& towers, Numbers same,
         const Kernels* kernels, int threads)
      : numbers(std::move(same)), parts(share_nodes(towers, numbers)), groups(find_groups(parts)) {
    const int beside = std::min(threads, static_cast<int>(groups.size()));
    ways[0] = std::make_unique<Way>(model, parts, groups, kernels, threads, 1);
    if (beside > 1) ways[1] = std::make_unique<Way>(model, parts, groups, kernels, threads, beside);
    dropped.resize(parts.size());
    for (size_t t = 0; t < parts.size(); ++t) dropped[t] = ways[0]->sessions[t]->profile();
  }

  void run_group(Way& way, const std::vector<size_t>& group, const Inputs& inputs, Inputs& results) {
    std::vector<const std::vector<Tensor>*> all(parts.size(), nullptr);
    for (size_t t : group) {
      const PartTower& part = *parts[t];
      std::vector<Tensor> given = inputs[t];
      for (const PartTower::Source& source : part.taken) given.push_back((*all[source.tower])[source.output]);
      all[t] = &way.sessions[t]->run(given);
      results[t].assign(all[t]->begin(), all[t]->begin() + static_cast<ptrdiff_t>(part.own_outputs));
    }
  }

  /// Both ways are tried, and the slower one given up.
  void run(const Inputs& inputs, Inputs& results) {
    const bool first = ways[1] == nullptr || (ways[0] != nullptr && ways[0]->runs < kTries);
    Way& way = *ways[first ? 0 : 1];
    std::vector<std::exception_ptr> faults(groups.size());
    const Clock::time_point start = Clock::now();
    way.outer.parallel(static_cast<int>(groups.size()), [&](int index, int) {
      const auto g = static_cast<size_t>(index);
      try {
        run_group(way, groups[g], inputs, results);
      } catch (...) {
        faults[g] = std::current_exception();
      }
    });
    for (const std::exception_ptr& fault : faults) {
      if (fault != nullptr) std::rethrow_exception(fault);
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (++way.runs > 1) way.best_seconds = std::min(way.best_seconds, seconds);
  }

  /// Before a run, whose results live in the way that it takes: once both were tried, the slower one goes.
  void choose() {
    if (ways[0] == nullptr || ways[1] == nullptr || ways[1]->runs < kTries) return;
    std::unique_ptr<Way>& slower = ways[ways[0]->best_seconds < ways[1]->best_seconds ? 1 : 0];
    for (size_t t = 0; t < parts.size(); ++t) add(dropped[t], slower->sessions[t]->profile());
    slower.reset();
  }

  void set_profiling(bool on) {
    profiling = on;
    for (std::vector<OpProfile>& part : dropped) {
      for (OpProfile& entry : part) entry.seconds = 0, entry.runs = 0;
    }
    for (const std::unique_ptr<Way>& way : ways) {
      for (size_t t = 0; way != nullptr && t < parts.size(); ++t) way->sessions[t]->set_profiling(on);
    }
  }

  std::vector<OpProfile> profile(size_t t) const {
    std::vector<OpProfile> sum = dropped[t];
    for (const std::unique_ptr<Way>& way : ways) {
      if (way != nullptr) add(sum, way->sessions[t]->profile());
    }
    return sum;
  }
};

}  // namespace

struct Together::State {
  std::shared_ptr<const Model> model;
  std::vector<const Model::Tower*> towers;
  const Kernels* kernels;
  int threads;
  std::vector<std::unique_ptr<Layout>> layouts;  // most recently used first
  Inputs results;
  bool profiling = false;

  Layout& layout_of(const Inputs& inputs);
};

Together::Together(std::shared_ptr<const Model> model, const std::vector<std::string>& towers,
                   const SessionOptions& options)
    : state_(std::make_unique<State>()) {
  if (towers.empty()) fail_argument("no tower is named");
  if (options.threads < 0 || options.threads > 64) {
    fail_argument("threads is " + std::to_string(options.threads) + ", expected 0 to 64");
  }
  state_->kernels = choose_kernels(options.isa);
  state_->threads = options.threads > 0 ? options.threads : std::min(usable_cpus(), 64);
  for (const std::string& name : towers) {
    const Model::Tower* tower = &model->tower(model->tower_index(name));
    const auto& known = state_->towers;
    if (std::find(known.begin(), known.end(), tower) != known.end()) {
      fail_argument("tower '" + name + "' is named twice");
    }
    state_->towers.push_back(tower);
  }
  state_->model = std::move(model);
  state_->results.resize(towers.size());
}

Together::~Together() = default;
size_t Together::size() const { return state_->towers.size(); }
const TowerSpec& Together::spec(size_t tower) const { return *state_->towers[tower]->spec; }

Layout& Together::State::layout_of(const Inputs& inputs) {
  Numbers numbers = number_inputs(inputs);
  for (size_t i = 0; i < layouts.size(); ++i) {
    if (layouts[i]->numbers != numbers) continue;
    std::rotate(layouts.begin(), layouts.begin() + static_cast<ptrdiff_t>(i),
                layouts.begin() + static_cast<ptrdiff_t>(i) + 1);
    return *layouts[0];
  }
  auto made = std::make_unique<Layout>(model, towers, std::move(numbers), kernels, threads);
  if (profiling) made->set_profiling(true);
  if (layouts.size() == kLayouts) layouts.pop_back();
  layouts.insert(layouts.begin(), std::move(made));
  return *layouts[0];
}

const Inputs& Together::run(const Inputs& inputs) {
  if (inputs.size() != size()) {
    fail_argument(std::to_string(inputs.size()) + " towers are given inputs, expected " + std::to_string(size()));
  }
  for (size_t t = 0; t < size(); ++t) {
    const size_t expected = spec(t).inputs.size(), got = inputs[t].size();
    if (got != expected) {
      fail_argument("tower '" + spec(t).name + "' takes " + std::to_string(expected) + " inputs, got " +
                    std::to_string(got));
    }
  }
  Layout& layout = state_->layout_of(inputs);
  layout.choose();
  layout.run(inputs, state_->results);
  return state_->results;
}

void Together::set_profiling(bool on) {
  state_->profiling = on;
  for (const std::unique_ptr<Layout>& layout : state_->layouts) layout->set_profiling(on);
}

std::vector<std::vector<OpProfile>> Together::profile() const {
  std::vector<std::vector<OpProfile>> profiles(size());
  for (const std::unique_ptr<Layout>& layout : state_->layouts) {
    for (size_t t = 0; t < size(); ++t) {
      for (OpProfile& entry : layout->profile(t)) {
        if (entry.runs != 0) profiles[t].push_back(std::move(entry));
      }
    }
  }
  return profiles;
}

}  // namespace pocketuni
