// The product that the int8 kernels for AVX-512 are made of. Unnamed namespace: see vec_avx512.h.
#pragma once
#include <immintrin.h>

namespace pocketuni {
namespace {

// acc += four u8 x s8 products a lane. In assembly, because GCC 12 gives each accumulator a second copy for the value
// after the loop, runs out of registers and spills most of a 6 x 4 tile (measured: 55 % of the peak instead of 90 %).
inline void add_dot(__m512i& acc, __m512i weights, __m512i x) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(weights), "v"(x));
}

}  // namespace
}  // namespace pocketuni
