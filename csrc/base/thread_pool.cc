#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/denormals.h"
#include "base/error.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace pocketuni {
namespace {

constexpr int kMaxThreads = 64;
using Clock = std::chrono::steady_clock;
// Waking a sleeper costs tens of microseconds, in a virtual machine hundreds: waiting awake for the next op, and for
// the next run of a caller who runs again and again, pays. The caller waits for less, since others may need its CPU.
constexpr std::chrono::microseconds kWorkerSpin{250};
constexpr std::chrono::microseconds kCallerSpin{100};

inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Counts the forks that lead to this process. A child has none of its parent's threads: a pool made before the fork
/// must neither wait for them nor join them.
std::atomic<unsigned> forks{0};

unsigned fork_count() {
#if defined(__unix__) || defined(__APPLE__)
  static const int registered = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  (void)registered;
#endif
  return forks.load(std::memory_order_relaxed);
}

/// Polls `ready` for at most `limit`; says whether it came true.
template <typename F>
bool spin_until(F ready, std::chrono::microseconds limit) {
  if (ready()) return true;
  if (limit.count() == 0) return false;
  const Clock::time_point end = Clock::now() + limit;
  do {
    for (int i = 0; i < 16; ++i) {
      pause_cpu();
      if (ready()) return true;
    }
  } while (Clock::now() < end);
  return false;
}

}  // namespace

// Each thread has a range of a job's indices, the same share of every job: what it wrote in the one before, a part of
// an array most often, is still in its caches. Whoever is done with its own helps others with theirs.
//
// A range is published by one store to its ticket: the job's number in the high half, the indices left in the low half.
// An index is claimed by a compare-exchange on the whole, so a worker that comes late fails to claim: either nothing is
// left of the job it saw, or the number has changed. run() does not return while an index is claimed and not done, so
// the job's fields, read behind a claim, are those of the claimed job. They may not be read before it: the tickets of a
// finished job stay while the next job's fields are written.
struct ThreadPool::Shared {
  using Task = void (*)(void*, int, int);

  struct alignas(64) Range {
    std::atomic<uint64_t> ticket{0};
    int end = 0;
  };

  std::vector<Range> ranges;                 // of each thread
  alignas(64) std::atomic<uint32_t> job{0};  // written when all tickets are
  alignas(64) std::atomic<int> pending{0};   // indices of the job that are not done
  alignas(64) Task task = nullptr;
  void* context = nullptr;
  std::atomic<bool> stop{false};
  std::atomic<int> caller_cpu{-1};  // when it last woke a worker

  // Sleeping: whoever sleeps announces it before it looks a last time, whoever publishes looks for sleepers after
  // publishing, all sequentially consistent; so one of the two sees the other.
  std::atomic<int> sleepers{0};
  std::atomic<bool> caller_sleeps{false};
  std::mutex mutex;
  std::condition_variable work, finished;

  std::chrono::microseconds worker_spin{0}, caller_spin{0};
  std::vector<std::thread> workers;
  const unsigned made_in = fork_count();

  bool is_of_parent() const { return made_in != fork_count(); }

  explicit Shared(int threads) : ranges(static_cast<size_t>(threads)) {}

  /// Publishes a job and returns its number; nothing of the one before is left.
  uint32_t publish(int count) {
    const int threads = static_cast<int>(ranges.size()), share = count / threads, larger = count % threads;
    const uint32_t number = job.load() + 1;
    pending.store(count, std::memory_order_relaxed);
    for (int t = 0, begin = 0; t < threads; ++t) {
      const int size = share + (t < larger ? 1 : 0);
      Range& range = ranges[static_cast<size_t>(t)];
      range.end = begin += size;
      range.ticket.store(static_cast<uint64_t>(number) << 32 | static_cast<uint32_t>(size), std::memory_order_release);
    }
    job.store(number);
    return number;
  }

  /// Claims and runs indices of a range until none is left or the job is over; returns how many.
  int work_on(Range& range, uint32_t number, int thread) {
    int done = 0;
    uint64_t seen = range.ticket.load(std::memory_order_acquire);
    while (seen >> 32 == number && static_cast<uint32_t>(seen) > 0) {
      if (!range.ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
        continue;
      }
      task(context, range.end - static_cast<int>(static_cast<uint32_t>(seen)), thread);
      ++done;
      seen = range.ticket.load(std::memory_order_acquire);
    }
    return done;
  }

  /// Works on the job until nothing of it is left to claim.
  void work_on(uint32_t number, int thread) {
    int done = 0;
    for (size_t i = 0, count = ranges.size(); i < count; ++i) {
      done += work_on(ranges[(static_cast<size_t>(thread) + i) % count], number, thread);
    }
    if (done > 0 && pending.fetch_sub(done) == done && caller_sleeps.load()) {
      {
        std::lock_guard<std::mutex> lock(mutex);
      }
      finished.notify_one();
    }
  }

  void worker(int thread) {
    const FlushDenormals flush;
    uint32_t last = 0;
    const auto called = [&] { return job.load() != last || stop.load(); };
    for (;;) {
      if (!spin_until(called, worker_spin)) {
        std::unique_lock<std::mutex> lock(mutex);
        ++sleepers;
        work.wait(lock, called);
        --sleepers;
        lock.unlock();
        // In a virtual machine, where a CPU that sleeps looks taken, the system wakes a worker on the caller's: each
        // then waits for the other until the system moves one of them, after milliseconds.
        if (worker_spin.count() > 0 && !stop.load()) leave_cpu(caller_cpu.load(std::memory_order_relaxed));
      }
      if (stop.load()) return;
      last = job.load();
      work_on(last, thread);
    }
  }

  void wake(int wanted) {
    const int asleep = std::min(sleepers.load(), wanted);
    if (asleep <= 0) return;
    caller_cpu.store(this_cpu(), std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(mutex);
    }
    for (int i = 0; i < asleep; ++i) work.notify_one();
  }

  void wait_for_workers() {
    const auto done = [&] { return pending.load() == 0; };
    if (spin_until(done, caller_spin)) return;
    std::unique_lock<std::mutex> lock(mutex);
    caller_sleeps = true;
    finished.wait(lock, done);
    caller_sleeps = false;
  }

  ~Shared() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stop = true;
    }
    work.notify_all();
    for (std::thread& thread : workers) thread.join();
  }
};

ThreadPool::ThreadPool(int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    fail_argument("threads must be 0 (all usable CPUs) to " + std::to_string(kMaxThreads) + ", got " +
                  std::to_string(threads));
  }
  size_ = threads;
  if (size_ == 1) return;
  const int cpus = usable_cpus();
  if (size_ == 0) size_ = std::min(cpus, kMaxThreads);
  if (size_ == 1) return;
  auto shared = std::make_unique<Shared>(size_);
  if (size_ <= cpus) {  // with more threads than CPUs whoever spins keeps another from working
    shared->worker_spin = kWorkerSpin;
    shared->caller_spin = kCallerSpin;
  }
  shared->workers.reserve(size_ - 1);
  try {
    for (int i = 1; i < size_; ++i) shared->workers.emplace_back(&Shared::worker, shared.get(), i);
  } catch (const std::system_error& error) {
    throw Error(Status::kInternal, "cannot start thread " + std::to_string(shared->workers.size() + 2) + " of " +
                                       std::to_string(size_) + ": " + error.what());
  }
  shared_ = std::move(shared);
}

ThreadPool::~ThreadPool() {
  if (shared_ && shared_->is_of_parent()) (void)shared_.release();  // its threads can be neither woken nor joined
}

void ThreadPool::run(int count, void (*task)(void* context, int index, int thread), void* context) {
  if (count <= 1 || size_ == 1 || shared_->is_of_parent()) {
    for (int i = 0; i < count; ++i) task(context, i, 0);
    return;
  }
  Shared& shared = *shared_;
  shared.task = task;
  shared.context = context;
  const uint32_t number = shared.publish(count);
  shared.wake(std::min(count, size_) - 1);
  shared.work_on(number, 0);
  shared.wait_for_workers();
}

}  // namespace pocketuni
