// Fourier transforms over the Vec that was included before: 16 butterflies at a time, the operations of ref_fft.cc.
#pragma once
#include "fft_real.h"

namespace pocketuni {
namespace {

// Where the results of a pass go: s apart. With s = 1 those of one butterfly lie side by side, with s = 4 those of
// four.
template <int S>
inline void store_butterflies(float* y, int i, int s, Vec* t) {
  if constexpr (S == 0) {  // s is a multiple of 16
    float* to = y + i % s + static_cast<ptrdiff_t>(i / s) * 4 * s;
    PU_NN_UNROLL for (int j = 0; j < 4; ++j) store(to + static_cast<ptrdiff_t>(j) * s, t[j]);
  } else {
    float lanes[64];
    if constexpr (S == 1) transpose_quads(t);
    PU_NN_UNROLL for (int j = 0; j < 4; ++j) store(lanes + 16 * j, t[j]);
    // Block k of vector j: butterfly 4 k + j with s = 1; output j of the butterflies of sub-transform k with s = 4.
    PU_NN_UNROLL for (int k = 0; k < 4; ++k) {
      PU_NN_UNROLL for (int j = 0; j < 4; ++j) memcpy(y + 4 * i + 16 * k + 4 * j, lanes + 16 * j + 4 * k, 16);
    }
  }
}

template <int S>
inline void pass_of_4(int size, int s, const float* w, const float* xr, const float* xi, float* yr, float* yi) {
  const int quarter = size / 4;
  for (int i = 0; i < quarter; i += 16) {
    Vec r[4], m[4];
    PU_NN_UNROLL for (int j = 0; j < 4; ++j) r[j] = load(xr + i + j * quarter), m[j] = load(xi + i + j * quarter);
    const Vec ar = r[0] + r[2], ai = m[0] + m[2], br = r[0] - r[2], bi = m[0] - m[2];
    const Vec cr = r[1] + r[3], ci = m[1] + m[3], dr = m[1] - m[3], di = r[3] - r[1];
    const Vec tr[4] = {ar + cr, br + dr, ar - cr, br - dr}, ti[4] = {ai + ci, bi + di, ai - ci, bi - di};
    Vec outr[4] = {tr[0], tr[0], tr[0], tr[0]}, outi[4] = {ti[0], ti[0], ti[0], ti[0]};
    PU_NN_UNROLL for (int j = 1; j < 4; ++j) {
      const Vec c = load(w + (2 * j - 2) * quarter + i), d = load(w + (2 * j - 1) * quarter + i);
      outr[j] = tr[j] * c - ti[j] * d;
      outi[j] = tr[j] * d + ti[j] * c;
    }
    store_butterflies<S>(yr, i, s, outr);
    store_butterflies<S>(yi, i, s, outi);
  }
}

void fft_f32(const FftPlan* plan, float* re, float* im, float* scratch) {
  const int size = plan->size;
  if (size < 64) return fft_f32_ref(plan, re, im, scratch);  // less than a vector of butterflies
  float *xr = re, *xi = im, *yr = scratch, *yi = scratch + size;
  const float* w = plan->twiddles;
  int s = 1;
  for (; s * 4 <= size; s *= 4, w += size / 4 * 6) {
    if (s == 1) {
      pass_of_4<1>(size, s, w, xr, xi, yr, yi);
    } else if (s == 4) {
      pass_of_4<4>(size, s, w, xr, xi, yr, yi);
    } else {
      pass_of_4<0>(size, s, w, xr, xi, yr, yi);
    }
    float *r = xr, *i = xi;
    xr = yr, xi = yi, yr = r, yi = i;
  }
  const int half = size / 2;
  if (s < size) {
    for (int i = 0; i < half; i += 16) {
      const Vec ar = load(xr + i), ai = load(xi + i), br = load(xr + half + i), bi = load(xi + half + i);
      store(yr + i, ar + br), store(yi + i, ai + bi);
      store(yr + half + i, ar - br), store(yi + half + i, ai - bi);
    }
    xr = yr, xi = yi;
  }
  if (xr == re) return;
  memcpy(re, xr, static_cast<size_t>(size) * sizeof(float));
  memcpy(im, xi, static_cast<size_t>(size) * sizeof(float));
}

void real_fft_f32(const FftPlan* plan, const float* samples, float* re, float* im, float* scratch) {
  real_forward(fft_f32, plan, samples, re, im, scratch);
}

void real_inverse_f32(const FftPlan* plan, const float* re, const float* im, float* samples, float* scratch) {
  real_backward(fft_f32, plan, re, im, samples, scratch);
}

void fill_fft(Kernels* kernels) {
  kernels->fft_f32 = fft_f32;
  kernels->real_fft_f32 = real_fft_f32;
  kernels->real_inverse_f32 = real_inverse_f32;
}

}  // namespace
}  // namespace pocketuni
