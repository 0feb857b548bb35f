// What the matrix kernels of each ISA export to `dispatch.cc`. Each fill overrides the entries that the ISA speeds up:
// quantize_rows, gemm_*, conv_i8 and the four of depthwise_i8. The activations come from `nn.h`.
#pragma once
#include "kernels.h"

namespace pocketuni {

void fill_gemm_ref(Kernels* kernels);
void fill_gemm_avx2(Kernels* kernels);
void fill_gemm_avxvnni(Kernels* kernels);  // over avx2: the integer products
void fill_gemm_avx512vnni(Kernels* kernels);
void fill_gemm_amx(Kernels* kernels);             // over avx512vnni: the integer products
void fill_quantize_avx512vnni(Kernels* kernels);  // part of fill_gemm_avx512vnni, as the next
void fill_conv_avx512vnni(Kernels* kernels);
void fill_depthwise_avx512vnni(Kernels* kernels);
void fill_gemm_neon(Kernels* kernels);
void fill_gemm_neondot(Kernels* kernels);  // over neon: the integer products

/// Fit wherever AMX, or reading ahead, has nothing to gain.
void gemm_i8_avx512vnni(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
                        const Epilogue* epilogue, float* y, ptrdiff_t y_stride);
void gemm_i4_avx512vnni(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
                        const Epilogue* epilogue, float* y, ptrdiff_t y_stride);

}  // namespace pocketuni
