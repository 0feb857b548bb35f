// The ISA ladder: the only place that lists which kernels exist and what they ask of the CPU.
#include <cstdlib>
#include <cstring>

#include "cpu.h"
#include "gemm.h"
#include "nn.h"

namespace pocketuni {
namespace {

using Fill = void (*)(Kernels*);

constexpr int kMaxSteps = 8;

struct Ladder {
  Kernels tables[kMaxSteps];
  const Kernels* usable[kMaxSteps + 1] = {};
  int count = 0;

  // A step starts from the table `base`, so that an ISA only names what it speeds up.
  const Kernels* step(const char* isa, bool can_run, const Kernels* base, Fill gemm, Fill nn) {
    if (!can_run) return nullptr;
    Kernels& table = tables[count];
    table = base != nullptr ? *base : Kernels{};
    table.isa = isa;
    gemm(&table);
    if (nn != nullptr) nn(&table);
    usable[count++] = &table;
    return &table;
  }

  Ladder() {
    const Kernels* ref = step("ref", true, nullptr, fill_gemm_ref, fill_nn_ref);
#if defined(__x86_64__)
    const CpuFeatures cpu = detect_cpu();
    const Kernels* avx2 = step("avx2", cpu.avx2, ref, fill_gemm_avx2, fill_nn_avx2);
    step("avxvnni", cpu.avxvnni, avx2, fill_gemm_avxvnni, nullptr);
    const Kernels* avx512 = step("avx512vnni", cpu.avx512vnni, avx2, fill_gemm_avx512vnni, fill_nn_avx512);
    step("amx", cpu.amx, avx512, fill_gemm_amx, nullptr);
#elif defined(__aarch64__)
    const CpuFeatures cpu = detect_cpu();
    const Kernels* neon = step("neon", cpu.neon, ref, fill_gemm_neon, fill_nn_neon);
    step("neondot", cpu.neondot, neon, fill_gemm_neondot, nullptr);
#else
    (void)ref;
#endif
  }
};

const Ladder& ladder() {
  static const Ladder instance;
  return instance;
}

}  // namespace

const Kernels* find_kernels(const char* isa) {
  const Ladder& l = ladder();
  for (int i = 0; i < l.count; ++i) {
    if (std::strcmp(l.usable[i]->isa, isa) == 0) return l.usable[i];
  }
  return nullptr;
}

const Kernels* default_kernels(const char** wanted) {
  const char* name = std::getenv("POCKETUNI_ISA");
  if (wanted != nullptr) *wanted = name;
  if (name != nullptr && *name != '\0') return find_kernels(name);
  const Ladder& l = ladder();
  return l.usable[l.count - 1];
}

const Kernels* const* usable_kernels() { return ladder().usable; }

}  // namespace pocketuni
