// Depthwise convolutions with int8 weights on AVX-512 with VNNI.
#if defined(__x86_64__)
#include <cmath>

#include "finish_avx512vnni.h"
#include "gemm.h"

namespace pocketuni {
namespace {

constexpr ActRow kActRow = act_row_avx512;

template <int R>
PU_INLINE void store_tile(const Output& out, Vec (&y)[R][1], int row, int panel, int cols) {
  __m512 acc[R][1];
  PU_UNROLL
  for (int r = 0; r < R; ++r) acc[r][0] = y[r][0].v;
  store_tile(out, acc, row, panel, cols);
}

struct VnniDot {
  static constexpr int kRows = 8, kBias = 128;
  using Weights = __m512i;
  static Weights load(const uint8_t* w) { return _mm512_loadu_si512(w); }
  static void add(Ints& acc, Ints x, Weights w) { add_dot(acc.v, x.v, w); }
};

}  // namespace
}  // namespace pocketuni

// It is written over what stands above it.
#include "depthwise_i8_body.h"

namespace pocketuni {

void fill_depthwise_avx512vnni(Kernels* kernels) {
  kernels->depthwise_scales = depthwise_scales;
  fill_depthwise_i8<VnniDot>(kernels);
}

}  // namespace pocketuni
#endif
