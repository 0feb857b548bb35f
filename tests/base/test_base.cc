#include <sched.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/blake2b.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "check.h"

using namespace pocketuni;

namespace {

template <typename F>
Status status_of(F body) {
  try {
    body();
  } catch (const Error& error) {
    return error.status();
  }
  return Status::kOk;
}

std::string hex(const Digest& digest) {
  std::string text;
  for (uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

void test_blake2b() {
  // hashlib.blake2b(bytes((7 * i + 3) % 256 for i in range(size)), digest_size=16).hexdigest()
  const std::pair<size_t, const char*> vectors[] = {
      {0, "cae66941d9efbd404e4d88758ea67670"},   {1, "71b186b851e866e71be237342976049a"},
      {3, "09e03a807474593d5cb98909e5d502cd"},   {64, "96631285a2c16ac3454fa6b94f6faeb6"},
      {127, "e00ab0ead4d729de8fbe7745d642e416"}, {128, "8e0cf9bb1b36fa6c42aa6490f719b575"},
      {129, "6cefde50e4008690e61cf8225d101256"}, {255, "b1bce9f0dc0bec101cd5e09b7961937c"},
      {256, "ac60b0f8b3227af67328401630cd4dfa"}, {257, "7e5b16bfede2940cbed4da50b56da597"},
      {1000, "add263669b4eb2158678a360fa6f007a"}};
  std::vector<uint8_t> data(1000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(7 * i + 3);
  for (const auto& [size, expected] : vectors) {
    CHECK(hex(blake2b(data.data(), size)) == expected, "size %zu", size);
    for (size_t step : {1, 7, 128, 200}) {
      Blake2b hash;
      for (size_t at = 0; at < size; at += step) hash.update(data.data() + at, std::min(step, size - at));
      CHECK(hex(hash.finish()) == expected, "size %zu in steps of %zu", size, step);
    }
  }
}

void test_checked_arithmetic() {
  CHECK(checked_mul(1u << 31, 1u << 31) == uint64_t{1} << 62);
  CHECK(status_of([] { checked_mul(uint64_t{1} << 32, uint64_t{1} << 32); }) == Status::kFormat);
  CHECK(status_of([] { checked_add(UINT64_MAX, 1); }) == Status::kFormat);
  CHECK(align_up(0, 64) == 0 && align_up(1, 64) == 64 && align_up(64, 64) == 64);
  CHECK(status_of([] { align_up(UINT64_MAX - 3, 64); }) == Status::kFormat);
}

void test_buffer() {
  AlignedBuffer buffer;
  CHECK(buffer.data() == nullptr && buffer.capacity() == 0);
  buffer.reserve(0);
  CHECK(buffer.capacity() == 0);
  for (size_t size : {1, 64, 65, 1000, 7, 100000}) {
    buffer.reserve(size);
    CHECK(buffer.capacity() >= size, "size %zu", size);
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0, "size %zu", size);
    buffer.data()[size - 1] = 1;
  }
  const size_t capacity = buffer.capacity();
  buffer.reserve(10);
  CHECK(buffer.capacity() == capacity, "a buffer never shrinks");
  AlignedBuffer moved(std::move(buffer));
  CHECK(moved.capacity() == capacity && buffer.data() == nullptr && buffer.capacity() == 0);
  CHECK(status_of([&] { moved.reserve(SIZE_MAX); }) == Status::kOutOfMemory);
  moved.reserve(128);
  CHECK(moved.capacity() == 128, "usable after a failure");
}

void test_pool_sizes() {
  CHECK(usable_cpus() >= 1);
  CHECK(ThreadPool(0).size() == std::min(usable_cpus(), 64));
  CHECK(ThreadPool(1).size() == 1);
  CHECK(ThreadPool(64).size() == 64);
  CHECK(status_of([] { ThreadPool pool(65); }) == Status::kInvalidArgument);
  CHECK(status_of([] { ThreadPool pool(-1); }) == Status::kInvalidArgument);
}

/// A root folder with files that a container would show. Nothing below it: /proc is not mounted.
struct FakeRoot {
  std::string path;

  FakeRoot() {
    char name[] = "/tmp/pocketuni-root-XXXXXX";
    path = CHECK(mkdtemp(name) != nullptr) ? name : "";
  }
  ~FakeRoot() { std::filesystem::remove_all(path); }
  void put(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path + file).parent_path());
    std::ofstream(path + file) << text;
  }
};

void test_cpus_of_quotas() {
  const int all = usable_cpus(FakeRoot().path);  // what the affinity mask leaves
  const auto expect = [&](const FakeRoot& root, int want, const char* what) {
    const int got = usable_cpus(root.path);
    CHECK(got == std::min(all, want), "%s: %d, expected %d of %d", what, got, want, all);
  };
  FakeRoot v2;
  v2.put("/proc/self/cgroup", "0::/a/b\n");
  v2.put("/sys/fs/cgroup/cpu.max", "max 100000\n");
  v2.put("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
  v2.put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  expect(v2, all, "no limit");
  v2.put("/sys/fs/cgroup/a/b/cpu.max", "1000000 100000\n");
  expect(v2, 10, "ten CPUs");
  v2.put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  expect(v2, 2, "one and a half around it");
  v2.put("/sys/fs/cgroup/a/cpu.max", "20000 100000\n");
  expect(v2, 1, "a fifth of one");
  for (const char* text : {"", "x", "max", "1", "-5 100000", "5 0", "99999999999999999999999 100000", "100000 -1"}) {
    v2.put("/sys/fs/cgroup/a/cpu.max", text);
    expect(v2, 10, text);
  }
  FakeRoot v1;
  v1.put("/proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n3:memory:/y\nnonsense\n:\n");
  v1.put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000");
  v1.put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  expect(v1, 1, "half a CPU, by the group at the root");
  v1.put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1");
  expect(v1, all, "no limit");
  FakeRoot unmounted;
  unmounted.put("/sys/fs/cgroup/cpu.max", "30000 100000");
  expect(unmounted, 1, "without /proc");
}

/// A thread whose mask holds one CPU: a pool made there has no workers unless it is told to.
void test_cpus_of_the_affinity_mask() {
  int cpus = 0, size = 0, asked = 0;
  std::thread pinned([&] {
    cpu_set_t mask, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof mask, &mask) != 0) return;
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &mask)) CPU_SET(cpu, &one);
    }
    if (sched_setaffinity(0, sizeof one, &one) != 0) return;
    cpus = usable_cpus();
    size = ThreadPool(0).size();
    ThreadPool three(3);
    std::atomic<int> sum{0};
    three.parallel(100, [&](int index, int) { sum += index; });
    asked = three.size() == 3 && sum == 4950 ? 3 : 0;
  });
  pinned.join();
  CHECK(cpus == 1 && size == 1 && asked == 3, "%d CPUs, pools of %d and %d", cpus, size, asked);
}

/// It is on another CPU at once, with the same choice of CPUs as before; the system may move it back between the two.
void test_leaving_a_cpu() {
  int left = 0, kept = 0;
  constexpr int kTries = 50;
  std::thread mover([&] {
    for (int i = 0; i < kTries; ++i) {
      cpu_set_t before, after;
      if (sched_getaffinity(0, sizeof before, &before) != 0) return;
      const int cpu = this_cpu();
      leave_cpu(cpu);
      left += this_cpu() != cpu;
      kept += sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&before, &after);
    }
    leave_cpu(-1);
    leave_cpu(CPU_SETSIZE - 1);
  });
  mover.join();
  CHECK(kept == kTries, "the mask is as before %d times of %d", kept, kTries);
  cpu_set_t mask;
  const bool choice = sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) > 1;
  CHECK(choice ? left >= kTries / 2 : left == 0, "left %d times of %d", left, kTries);
}

void test_every_index_once() {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int count : {0, 1, 2, 3, 7, 64, 1000}) {
      std::vector<std::atomic<int>> runs(count);
      std::vector<std::atomic<int>> busy(threads);
      std::atomic<int> wrong{0};
      pool.parallel(count, [&](int index, int thread) {
        if (index < 0 || index >= count || thread < 0 || thread >= threads || busy[thread]++ != 0) {
          ++wrong;
          return;
        }
        ++runs[index];
        --busy[thread];
      });
      int once = 0;
      for (const auto& run : runs) once += run == 1;
      CHECK(wrong == 0 && once == count, "%d threads, count %d, %d once", threads, count, once);
    }
  }
}

/// Plain writes of one job must be seen by the next job, whoever runs it: run() is a barrier.
void test_jobs_follow_each_other() {
  ThreadPool pool(3);
  std::vector<int> values(17);
  for (int job = 0; job < 2000; ++job) {
    const int count = 2 + job % 16;
    pool.parallel(count, [&](int index, int) { values[index] += values[(index + 17) % 17] == values[index]; });
  }
  long sum = 0, expected = 0;
  for (int value : values) sum += value;
  for (int job = 0; job < 2000; ++job) expected += 2 + job % 16;
  CHECK(sum == expected, "%ld, not %ld", sum, expected);
}

void test_tiny_jobs_from_several_pools() {
  constexpr int kCallers = 4, kJobs = 10000;
  std::vector<std::thread> callers;
  std::vector<long> sums(kCallers);
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([caller, &sums] {
      ThreadPool pool(2 + caller % 3);
      std::vector<long> parts(4);
      for (int job = 0; job < kJobs; ++job) {
        pool.parallel(2 + job % 7, [&](int index, int thread) { parts[thread] += index + job; });
      }
      for (long part : parts) sums[caller] += part;
    });
  }
  for (std::thread& caller : callers) caller.join();
  long expected = 0;
  for (long job = 0; job < kJobs; ++job) {
    const long count = 2 + job % 7;
    expected += count * job + count * (count - 1) / 2;
  }
  for (int caller = 0; caller < kCallers; ++caller) {
    CHECK(sums[caller] == expected, "caller %d: %ld, not %ld", caller, sums[caller], expected);
  }
}

void test_workers_sleep_and_wake() {
  ThreadPool pool(usable_cpus() > 1 ? 2 : 3);
  std::atomic<int> runs{0};
  for (int i = 0; i < 20; ++i) {
    pool.parallel(8, [&](int, int) { ++runs; });
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(runs == 160, "%d", runs.load());
  std::timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double used = (after.tv_sec - before.tv_sec) + 1e-9 * (after.tv_nsec - before.tv_nsec);
  CHECK(used < 0.02, "idle workers used %.4f s of CPU in 0.2 s", used);
}

void test_start_and_stop() {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(1 + i % 5);
    std::atomic<int> runs{0};
    if (i % 3 != 0) pool.parallel(3, [&](int, int) { ++runs; });
    CHECK(runs == (i % 3 != 0 ? 3 : 0));
  }
}

}  // namespace

int main() {
  test_blake2b();
  test_checked_arithmetic();
  test_buffer();
  test_pool_sizes();
  test_cpus_of_quotas();
  test_cpus_of_the_affinity_mask();
  test_leaving_a_cpu();
  test_every_index_once();
  test_jobs_follow_each_other();
  test_tiny_jobs_from_several_pools();
  test_workers_sleep_and_wake();
  test_start_and_stop();
  return check::summary();
}
