// A small pool owned by a session. Workers spin for some microseconds after a job, then sleep: idle costs nothing.
#pragma once
#include <memory>
#include <string>

namespace pocketuni {

/// CPUs this process may use: affinity mask and cgroup quota (rounded up), at least 1. `root` is where /proc and
/// /sys/fs/cgroup lie: tests give another place than "".
int usable_cpus(const std::string& root = "");

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

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
  int size_;
};

}  // namespace pocketuni
