// What this CPU and its operating system allow. Only `dispatch.cc` asks.
#pragma once

namespace pocketuni {

struct CpuFeatures {
  bool avx2 = false;        // AVX2 + FMA + F16C
  bool avxvnni = false;     // the above + AVX-VNNI (256-bit vpdpbusd in VEX encoding)
  bool avx512vnni = false;  // avx2 + AVX512 F, BW, VL, DQ, VNNI
  bool amx = false;         // avx512vnni + AMX-TILE, AMX-INT8, which the operating system has granted
  bool neon = false;
  bool neondot = false;  // sdot
};

CpuFeatures detect_cpu();

}  // namespace pocketuni
