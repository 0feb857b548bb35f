// What the matrix kernels of each ISA export to `dispatch.cc`. Each fill overrides the entries that the ISA speeds up:
// quantize_rows, gemm_* and conv_i8. The activations come from `nn.h`.
#pragma once
#include "kernels.h"

namespace pocketuni {

void fill_gemm_ref(Kernels* kernels);
void fill_gemm_avx2(Kernels* kernels);
void fill_gemm_avxvnni(Kernels* kernels);  // over avx2: the integer products
void fill_gemm_avx512vnni(Kernels* kernels);
void fill_quantize_avx512vnni(Kernels* kernels);  // part of fill_gemm_avx512vnni, as the next
void fill_conv_avx512vnni(Kernels* kernels);
void fill_gemm_neon(Kernels* kernels);
void fill_gemm_neondot(Kernels* kernels);  // over neon: the integer products

}  // namespace pocketuni
