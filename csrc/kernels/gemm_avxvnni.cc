// AVX-VNNI: vpdpbusd on 256 bits. The floating-point kernels and the quantization stay those of AVX2.
#if defined(__x86_64__)
#include "gemm_avx2.h"

// tests/kernels/avxvnni_in_evex.cc compiles this file in the encoding that CPUs with AVX-512 VNNI have, to run it
// there.
#ifndef POCKETUNI_VNNI_ENCODING
#define POCKETUNI_VNNI_ENCODING "%{vex%}"
#endif

namespace pocketuni {
namespace {

struct VnniDot {
  static constexpr int kRows = 6, kHalves = 2, kGemvPanels = 4;  // 12 accumulators of 16 registers; 8 for a single row
  static constexpr bool kBiased = true;                          // weights stay unsigned

  using Weights = __m256i;
  static Weights load(const uint8_t* w) { return load256(w); }
  // In assembly for the reason given in gemm_avx512vnni.cc: with the intrinsic GCC spills the accumulators.
  static __m256i add(__m256i acc, Weights w, __m256i x) {
    __asm__(POCKETUNI_VNNI_ENCODING " vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
    return acc;
  }

  static __m256i nibbles_start(int32_t correction) { return _mm256_set1_epi32(correction); }
  static __m256i nibbles_add(__m256i acc, __m256i w, __m256i x) { return add(acc, w, x); }
  static __m256i nibbles_end(__m256i acc, int32_t) { return acc; }
};

// The weights are the signed bytes here.
struct DepthwiseDot {
  static constexpr int kRows = 6, kBias = 128;
  using Weights = Ints;
  static Weights load(const uint8_t* w) { return load_ints(w); }
  static void add(Ints& acc, Ints x, const Weights& w) {
    acc = {VnniDot::add(acc.a, x.a, w.a), VnniDot::add(acc.b, x.b, w.b)};
  }
};

}  // namespace

void fill_gemm_avxvnni(Kernels* kernels) {
  kernels->gemm_i8 = gemm_i8<VnniDot>;
  kernels->gemm_i4 = gemm_i4<VnniDot>;
  kernels->conv_i8 = conv_i8<VnniDot>;
  fill_depthwise_i8<DepthwiseDot>(kernels);
}

}  // namespace pocketuni
#endif
