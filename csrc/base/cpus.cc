// How many CPUs this process may use: what the affinity mask and the container's quota leave of the machine; and which
// of them a thread uses.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/thread_pool.h"

#ifdef __linux__
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#endif

namespace pocketuni {
namespace {

#ifdef __linux__

int affinity_cpus() {
  // The kernel refuses a mask shorter than its own, so the mask grows until it fits.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
    std::vector<cpu_set_t> mask(CPU_ALLOC_SIZE(cpus) / sizeof(cpu_set_t) + 1);
    const size_t bytes = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) return CPU_COUNT_S(bytes, mask.data());
  }
  return 0;
}

/// CPUs that `quota` microseconds in every `period` give, rounded up; 0 when there is no limit.
int quota_cpus(long long quota, long long period) {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::min<long long>((quota - 1) / period + 1, 1 << 20));
}

/// A small file, read without allocating; "" when there is none. Files of the kernel may be shorter than they say.
struct SmallFile {
  char text[4096] = "";

  explicit SmallFile(const std::string& path) {
    const int number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (number < 0) return;
    size_t size = 0;
    for (;;) {
      const ssize_t got = ::read(number, text + size, sizeof text - 1 - size);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      size += static_cast<size_t>(got);
    }
    ::close(number);
    text[size] = '\0';
  }
};

/// A number in the file, behind white space; 0 when there is none, or another word ("max").
long long read_number(const char** at) {
  char* end = nullptr;
  const long long number = std::strtoll(*at, &end, 10);
  *at = end;
  return number;
}

int read_v2(const std::string& folder) {  // "quota period" or "max period"
  const SmallFile file(folder + "/cpu.max");
  const char* at = file.text;
  const long long quota = read_number(&at);
  return quota_cpus(quota, read_number(&at));
}

int read_v1(const std::string& folder) {
  const SmallFile quota(folder + "/cpu.cfs_quota_us"), period(folder + "/cpu.cfs_period_us");
  const char *quota_at = quota.text, *period_at = period.text;
  return quota_cpus(read_number(&quota_at), read_number(&period_at));
}

void lower(int& limit, int cpus) {
  if (cpus > 0 && (limit == 0 || cpus < limit)) limit = cpus;
}

/// The smallest limit of a group and all groups around it. In a container without its own cgroup namespace the path
/// is the host's and does not exist here; the root then holds the container's own limit.
int smallest_limit(const std::string& root, std::string path, int (*read)(const std::string&)) {
  int limit = 0;
  while (path.size() > 1) {
    lower(limit, read(root + path));
    const size_t slash = path.find_last_of('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
  lower(limit, read(root));
  return limit;
}

int cgroup_cpus(const std::string& root) {
  int limit = 0;
  const std::string v2 = root + "/sys/fs/cgroup", v1 = v2 + "/cpu";
  const SmallFile groups(root + "/proc/self/cgroup");
  std::string_view left = groups.text;
  while (!left.empty()) {  // lines of "hierarchy:controllers:/path"
    const std::string_view line = left.substr(0, left.find('\n'));
    left.remove_prefix(std::min(left.size(), line.size() + 1));
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string controllers = "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
    const std::string path(line.substr(second + 1));
    if (controllers == ",,") lower(limit, smallest_limit(v2, path, read_v2));
    if (controllers.find(",cpu,") != std::string::npos) lower(limit, smallest_limit(v1, path, read_v1));
  }
  lower(limit, read_v2(v2));  // when /proc is not mounted
  lower(limit, read_v1(v1));
  return limit;
}

#else

int affinity_cpus() { return 0; }
int cgroup_cpus(const std::string&) { return 0; }

#endif

}  // namespace

int usable_cpus(const std::string& root) {
  int cpus = affinity_cpus();
  if (cpus <= 0) cpus = static_cast<int>(std::thread::hardware_concurrency());
  const int quota = cgroup_cpus(root);
  if (quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

int this_cpu() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

void leave_cpu(int cpu) {
#ifdef __linux__
  cpu_set_t all;
  if (cpu < 0 || sched_getcpu() != cpu || sched_getaffinity(0, sizeof all, &all) != 0) return;
  cpu_set_t others = all;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof all, &all);
#else
  (void)cpu;
#endif
}

}  // namespace pocketuni
