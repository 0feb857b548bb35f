#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace pocketuni {

#if defined(__x86_64__)

namespace {

bool bit(unsigned word, int index) { return (word >> index & 1u) != 0; }

// The registers that the operating system saves. CPUID alone says what the CPU has, not that a context switch keeps it.
unsigned saved_state() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Linux keeps the tiles of processes that ask for it, from now on and for all of their threads.
bool grants_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // arch/x86/include/uapi/asm/prctl.h
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

CpuFeatures detect_cpu() {
  CpuFeatures f;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  const bool fma = bit(c, 12), osxsave = bit(c, 27), avx = bit(c, 28), f16c = bit(c, 29);
  if (!osxsave || !avx) return f;
  const unsigned state = saved_state();
  const bool ymm = (state & 0x06) == 0x06, zmm = (state & 0xe6) == 0xe6;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
  f.avx2 = ymm && fma && f16c && bit(b, 5);
  f.avx512vnni =
      f.avx2 && zmm && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31) && bit(c, 11);  // F DQ BW VL VNNI
  const bool tiles = bit(d, 24) && bit(d, 25);                                              // AMX-TILE, AMX-INT8
  const unsigned subleaves = a;
  if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) f.avxvnni = f.avx2 && bit(a, 4);
  f.amx = f.avx512vnni && tiles && (state & 0x60000) == 0x60000 && grants_tiles();
  return f;
}

#elif defined(__aarch64__)

CpuFeatures detect_cpu() {
  CpuFeatures f;
  f.neon = true;
#if defined(__linux__)
  constexpr unsigned long kHwcapAsimdDp = 1ul << 20;  // arch/arm64/include/uapi/asm/hwcap.h
  f.neondot = (getauxval(AT_HWCAP) & kHwcapAsimdDp) != 0;
#elif defined(__APPLE__)
  f.neondot = true;  // every 64-bit Mac
#endif
  return f;
}

#else

CpuFeatures detect_cpu() { return {}; }

#endif

}  // namespace pocketuni
