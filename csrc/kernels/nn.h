// What the elementwise, normalization and attention kernels of each ISA export to `dispatch.cc` and to the matrix
// kernels. A fill sets conv_f32, conv_f16, depthwise_f32 and every entry below them in `Kernels`.
#pragma once
#include "kernels.h"

namespace pocketuni {

void fill_nn_ref(Kernels* kernels);
void fill_conv_ref(Kernels* kernels);  // conv_*, depthwise_* and max_pool_f32; part of fill_nn_ref
void fill_fft_ref(Kernels* kernels);   // fft_f32, real_*; part of fill_nn_ref
void fft_f32_ref(const FftPlan* plan, float* re, float* im, float* scratch);
void fill_nn_avx2(Kernels* kernels);
void fill_nn_avx512(Kernels* kernels);
void fill_attention_avx512vnni(Kernels* kernels);  // attention_i8; part of fill_nn_avx512
void fill_nn_neon(Kernels* kernels);

/// y[0, n) = activation(y), in place: the last step of a matrix product.
void act_row_ref(Activation activation, float* y, int n);
void act_row_avx2(Activation activation, float* y, int n);
void act_row_avx512(Activation activation, float* y, int n);
void act_row_neon(Activation activation, float* y, int n);

/// The reference, for what an ISA leaves to libm (log, sin, cos, pow) and is too rare to deserve vectors.
void unary_f32_ref(Unary op, const float* x, float* y, size_t n, float alpha, float beta);
void binary_f32_ref(Binary op, const float* a, int a_step, const float* b, int b_step, float* y, size_t n);
void f16_to_f32_ref(const uint16_t* x, float* y, size_t n);

}  // namespace pocketuni
