// A small pool owned by a session. Workers spin for some microseconds after a job, then sleep: idle costs nothing.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

namespace pocketuni {

/// CPUs this process may use: affinity mask and cgroup quota (rounded up), at least 1. `root` is where /proc and
/// /sys/fs/cgroup lie: tests give another place than "".
int usable_cpus(const std::string& root = "");

/// The CPU that runs this thread; -1 where the system does not say.
int this_cpu();

/// Moves this thread to another CPU that it may use, if it runs on `cpu` and there is one; it may come back later.
void leave_cpu(int cpu);

class ThreadPool {
 public:
  /// `threads` counts the caller: 1 starts no worker. 0 means usable_cpus(). More than 64 is an error.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  int size() const { return size_; }

  /// Runs `task(context, index, thread)` for every index in [0, count), on up to size() threads, and returns when all
  /// are done. `thread` is in [0, size()) and unique among those running. Tasks must not throw. One caller at a time.
  /// In a forked child, a pool of the parent works on the caller alone.
  void run(int count, void (*task)(void* context, int index, int thread), void* context);

  template <typename F>
  void parallel(int count, F body) {
    run(count, [](void* f, int index, int thread) { (*static_cast<F*>(f))(index, thread); }, &body);
  }

  /// Runs `body(begin, count, thread)` over parts of [0, units), of which each takes as long as passing over `cost`
  /// numbers in a cache: a few parts for each thread, or fewer, so that to start a thread pays.
  template <typename F>
  void parallel_parts(int64_t units, int64_t cost, F body) {
    constexpr int64_t kLeastCost = 8192, kPartsOfThread = 4;
    const int64_t most = units * std::max<int64_t>(cost, 1) / kLeastCost;
    const int64_t wanted = std::clamp<int64_t>(most, 1, kPartsOfThread * size());
    const int64_t share = std::max<int64_t>(1, (units + wanted - 1) / wanted);
    parallel(static_cast<int>((units + share - 1) / share),
             [&](int part, int thread) { body(part * share, std::min(share, units - part * share), thread); });
  }

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
  int size_;
};

}  // namespace pocketuni
