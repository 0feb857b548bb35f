// The nn kernels for AVX-512 F, BW, VL, DQ.
#if defined(__x86_64__)
#include "nn.h"
#include "vec_avx512.h"
// The order matters: each of these is written over what stands above it, so no formatter may sort them.
#include "vec_math.h"

#include "attention_body.h"

#include "nn_body.h"

#include "gemm_tile.h"

#include "leave_body.h"

#include "conv_body.h"

#include "depthwise_body.h"

#include "fft_body.h"

namespace pocketuni {

void fill_nn_avx512(Kernels* kernels) {
  fill_nn(kernels);
  fill_conv(kernels);
  fill_depthwise(kernels);
  fill_fft(kernels);
  fill_attention_avx512vnni(kernels);
}
void act_row_avx512(Activation activation, float* y, int n) { act_row(activation, y, n); }

}  // namespace pocketuni
#endif
