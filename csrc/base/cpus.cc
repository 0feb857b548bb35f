// How many CPUs this process may use: what the affinity mask and the container's quota leave of the machine.
#include <algorithm>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/thread_pool.h"

#ifdef __linux__
#include <sched.h>
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
  return static_cast<int>(std::min<long long>((quota + period - 1) / period, 1 << 20));
}

int read_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  long long period = 0;
  if (!(file >> quota >> period) || quota.empty() || quota.size() > 17) return 0;
  if (quota.find_first_not_of("0123456789") != std::string::npos) return 0;  // "max"
  return quota_cpus(std::stoll(quota), period);
}

int read_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
  long long quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period)) return 0;
  return quota_cpus(quota, period);
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

int cgroup_cpus() {
  int limit = 0;
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {  // "hierarchy:controllers:/path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") lower(limit, smallest_limit("/sys/fs/cgroup", path, read_v2));
    if (controllers.find(",cpu,") != std::string::npos)
      lower(limit, smallest_limit("/sys/fs/cgroup/cpu", path, read_v1));
  }
  lower(limit, read_v2("/sys/fs/cgroup"));  // when /proc is not mounted
  lower(limit, read_v1("/sys/fs/cgroup/cpu"));
  return limit;
}

#else

int affinity_cpus() { return 0; }
int cgroup_cpus() { return 0; }

#endif

}  // namespace

int usable_cpus() {
  int cpus = affinity_cpus();
  if (cpus <= 0) cpus = static_cast<int>(std::thread::hardware_concurrency());
  const int quota = cgroup_cpus();
  if (quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

}  // namespace pocketuni
