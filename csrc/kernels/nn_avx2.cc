// The nn kernels for AVX2 + FMA + F16C.
#if defined(__x86_64__)
#include "nn.h"
#include "vec_avx2.h"
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

void fill_nn_avx2(Kernels* kernels) {
  fill_nn(kernels);
  fill_conv(kernels);
  fill_depthwise(kernels);
  fill_fft(kernels);
}
void act_row_avx2(Activation activation, float* y, int n) { act_row(activation, y, n); }

}  // namespace pocketuni
#endif
