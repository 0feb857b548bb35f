// ARMv8.0 NEON.
#if defined(__aarch64__)
#include "gemm_neon.h"
// It is written over what stands above it.
#include "gemm_body.h"

#include <cmath>

namespace pocketuni {
namespace {

// Products in s16, two of one output added there: at most 2 x 128 x 127 = 32512.
struct WideningDot {
  static constexpr int kRows = 4;
  static int32x4_t add(int32x4_t acc, int8x16_t w, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
  }
};

inline uint32_t abs_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffffu;
}

inline float row_max(const float* x, int k) {
  uint32x4_t lanes = vdupq_n_u32(0);
  int i = 0;
  for (; i + 4 <= k; i += 4) {
    lanes = vmaxq_u32(lanes, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(0x7fffffffu)));
  }
  uint32_t bits = vmaxvq_u32(lanes);
  for (; i < k; ++i) bits = abs_bits(x[i]) > bits ? abs_bits(x[i]) : bits;
  float max;
  std::memcpy(&max, &bits, sizeof max);
  return max;
}

// 32 values to bytes, and their sum.
inline int32_t quantize_group(const float* x, float inverse, int8_t* q) {
  int32_t sum = 0;
  for (int half = 0; half < 2; ++half, x += 16, q += 16) {
    int16x4_t words[4];
    PU_UNROLL
    for (int v = 0; v < 4; ++v) words[v] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + v * 4), inverse)));
    const int8x8_t low = vmovn_s16(vcombine_s16(words[0], words[1]));
    const int8x8_t high = vmovn_s16(vcombine_s16(words[2], words[3]));
    const int8x16_t bytes = vcombine_s8(low, high);
    vst1q_s8(q, bytes);
    sum += vaddlvq_s8(bytes);
  }
  return sum;
}

void quantize_row(const float* x, int k, int8_t* q, ptrdiff_t q_stride, float* scale, int32_t* sum) {
  const float max = row_max(x, k);
  if (!(max <= 3.402823466e38f) || is_zero_row(max)) {
    *scale = max < 1.0f ? 0.0f : NAN;
    std::memset(q, 0, static_cast<size_t>(q_stride));
    std::memset(sum, 0, static_cast<size_t>(q_stride / kGroup) * sizeof *sum);
    return;
  }
  *scale = max / 127.0f;
  const float inverse = 127.0f / max;
  int i = 0;
  for (; i + kGroup <= k; i += kGroup) sum[i / kGroup] = quantize_group(x + i, inverse, q + i);
  for (; i < q_stride; i += kGroup) {
    float tail[kGroup] = {};
    if (i < k) std::memcpy(tail, x + i, static_cast<size_t>(k - i) * sizeof *x);
    sum[i / kGroup] = quantize_group(tail, inverse, q + i);
  }
}

void quantize_rows(const float* x, ptrdiff_t x_stride, int rows, int k, int8_t* q, ptrdiff_t q_stride, float* scale,
                   int32_t* sum) {
  for (int r = 0; r < rows; ++r) {
    quantize_row(x + r * x_stride, k, q + r * q_stride, q_stride, scale + r, sum + r * (q_stride / kGroup));
  }
}

}  // namespace

void fill_gemm_neon(Kernels* kernels) {
  kernels->quantize_rows = quantize_rows;
  fill_float_gemm(kernels);
  kernels->gemm_i8 = gemm_i8<WideningDot>;
  kernels->conv_i8 = conv_i8<WideningDot>;
  kernels->depthwise_scales = depthwise_scales;
  fill_depthwise_i8<DepthwiseDot<WideningDot>>(kernels);
  kernels->gemm_i4 = gemm_i4<WideningDot>;
}

}  // namespace pocketuni
#endif
