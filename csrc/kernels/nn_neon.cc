// The nn kernels for ARMv8.0 NEON.
#if defined(__aarch64__)
#include "nn.h"
#include "vec_neon.h"
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

void fill_nn_neon(Kernels* kernels) {
  fill_nn(kernels);
  fill_conv(kernels);
  fill_depthwise(kernels);
  fill_fft(kernels);
}
void act_row_neon(Activation activation, float* y, int n) { act_row(activation, y, n); }

}  // namespace pocketuni
#endif
