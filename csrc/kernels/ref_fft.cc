// Fourier transforms in the plainest form: Stockham's, which needs no bit reversal. Every ISA does the same operations
// in the same order and gives the same bits.
#include <cstring>

#include "fft_real.h"
#include "nn.h"

namespace pocketuni {
namespace {

// One pass of radix 4 over sub-transforms that lie `s` apart: i = q + s p of the input, q + 4 s p + s j of the output.
void pass_of_4(int size, int s, const float* w, const float* xr, const float* xi, float* yr, float* yi) {
  const int quarter = size / 4;
  for (int i = 0; i < quarter; ++i) {
    float r[4], m[4];
    for (int j = 0; j < 4; ++j) r[j] = xr[i + j * quarter], m[j] = xi[i + j * quarter];
    const float ar = r[0] + r[2], ai = m[0] + m[2], br = r[0] - r[2], bi = m[0] - m[2];
    const float cr = r[1] + r[3], ci = m[1] + m[3], dr = m[1] - m[3], di = r[3] - r[1];  // -i (x1 - x3)
    const float tr[4] = {ar + cr, br + dr, ar - cr, br - dr}, ti[4] = {ai + ci, bi + di, ai - ci, bi - di};
    const int at = i % s + i / s * 4 * s;
    yr[at] = tr[0], yi[at] = ti[0];
    for (int j = 1; j < 4; ++j) {
      const float c = w[(2 * j - 2) * quarter + i], d = w[(2 * j - 1) * quarter + i];
      yr[at + j * s] = tr[j] * c - ti[j] * d;
      yi[at + j * s] = tr[j] * d + ti[j] * c;
    }
  }
}

void real_fft_f32(const FftPlan* plan, const float* samples, float* re, float* im, float* scratch) {
  real_forward(fft_f32_ref, plan, samples, re, im, scratch);
}

void real_inverse_f32(const FftPlan* plan, const float* re, const float* im, float* samples, float* scratch) {
  real_backward(fft_f32_ref, plan, re, im, samples, scratch);
}

}  // namespace

void fft_f32_ref(const FftPlan* plan, float* re, float* im, float* scratch) {
  const int size = plan->size;
  float *xr = re, *xi = im, *yr = scratch, *yi = scratch + size;
  const float* w = plan->twiddles;
  int s = 1;
  for (; s * 4 <= size; s *= 4, w += size / 4 * 6) {
    pass_of_4(size, s, w, xr, xi, yr, yi);
    float *r = xr, *i = xi;
    xr = yr, xi = yi, yr = r, yi = i;
  }
  if (s < size) {  // one pass of radix 2 is left; it has no twiddles
    for (int i = 0; i < size / 2; ++i) {
      const float ar = xr[i], ai = xi[i], br = xr[i + size / 2], bi = xi[i + size / 2];
      yr[i] = ar + br, yi[i] = ai + bi;
      yr[i + size / 2] = ar - br, yi[i + size / 2] = ai - bi;
    }
    xr = yr, xi = yi;
  }
  if (xr == re) return;
  std::memcpy(re, xr, static_cast<size_t>(size) * sizeof(float));
  std::memcpy(im, xi, static_cast<size_t>(size) * sizeof(float));
}

void fill_fft_ref(Kernels* kernels) {
  kernels->fft_f32 = fft_f32_ref;
  kernels->real_fft_f32 = real_fft_f32;
  kernels->real_inverse_f32 = real_inverse_f32;
}

}  // namespace pocketuni
