// The AVX-VNNI kernels where a CPU has their instruction only as AVX-512 VNNI encodes it.
#pragma once
#include <cstring>

#include "../../csrc/kernels/gemm.h"

namespace pocketuni {

#if defined(__x86_64__)
void fill_gemm_evexvnni(Kernels* kernels);
#endif

/// The table that AVX-VNNI has, but for the encoding of one instruction; null where this CPU cannot run it or runs
/// AVX-VNNI itself.
inline const Kernels* avxvnni_in_evex() {
#if defined(__x86_64__)
  static Kernels table;
  if (find_kernels("avx512vnni") == nullptr || find_kernels("avxvnni") != nullptr) return nullptr;
  table = *find_kernels("avx2");
  table.isa = "avxvnni in evex";
  fill_gemm_evexvnni(&table);
  return &table;
#else
  return nullptr;
#endif
}

}  // namespace pocketuni
