// ARMv8.2 dot product: sdot. The floating-point kernels and the quantization stay those of NEON.
#if defined(__aarch64__)
#include "gemm_neon.h"

namespace pocketuni {
namespace {

struct SdotDot {
  static constexpr int kRows = 6;  // 24 accumulators, 4 weights and a broadcast in 32 registers
  static int32x4_t add(int32x4_t acc, int8x16_t w, int8x16_t x) { return vdotq_s32(acc, w, x); }
};

}  // namespace

void fill_gemm_neondot(Kernels* kernels) {
  kernels->gemm_i8 = gemm_i8<SdotDot>;
  kernels->conv_i8 = conv_i8<SdotDot>;
  fill_depthwise_i8<DepthwiseDot<SdotDot>>(kernels);
  kernels->gemm_i4 = gemm_i4<SdotDot>;
}

}  // namespace pocketuni
#endif
