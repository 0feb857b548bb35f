// Between real and complex transforms: a real signal of 2 h samples is a complex one of h, even samples in the real
// part and odd ones in the imaginary part. Plain loops, which each file that includes them compiles for its instruction
// set.
#pragma once
#include "kernels.h"

namespace pocketuni {
namespace {

// With E and O the spectra of even and odd samples, X[k] = E[k] + exp(-pi i k / h) O[k] and Z[k] = E[k] + i O[k].
// Writes Z, scaled, as the conjugate: its forward transform, conjugated, is the inverse one.
inline void fold_bins(const FftPlan& plan, const float* __restrict re, const float* __restrict im, float* __restrict zr,
                      float* __restrict zi) {
  const int h = plan.size;
  const float *cosine = plan.turn, *sine = plan.turn + h, scale = 0.5f / static_cast<float>(h);
  zr[0] = (re[0] + re[h]) * scale;
  zi[0] = (re[h] - re[0]) * scale;
  for (int k = 1; k < h; ++k) {
    const float er = re[k] + re[h - k], ei = im[k] - im[h - k], dr = re[k] - re[h - k], di = im[k] + im[h - k];
    zr[k] = (er - (dr * sine[k] + di * cosine[k])) * scale;
    zi[k] = -(ei + (dr * cosine[k] - di * sine[k])) * scale;
  }
}

// The other way: E = (Z[k] + conj Z[h - k]) / 2 and O = (Z[k] - conj Z[h - k]) / 2i.
inline void unfold_bins(const FftPlan& plan, const float* __restrict zr, const float* __restrict zi,
                        float* __restrict re, float* __restrict im) {
  const int h = plan.size;
  const float *cosine = plan.turn, *sine = plan.turn + h;
  re[0] = zr[0] + zi[0], im[0] = 0.0f;
  re[h] = zr[0] - zi[0], im[h] = 0.0f;
  for (int k = 1; k < h; ++k) {
    const float er = zr[k] + zr[h - k], ei = zi[k] - zi[h - k], orr = zi[k] + zi[h - k], oi = zr[h - k] - zr[k];
    re[k] = 0.5f * (er + (orr * cosine[k] + oi * sine[k]));
    im[k] = 0.5f * (ei + (oi * cosine[k] - orr * sine[k]));
  }
}

using FftRun = void (*)(const FftPlan*, float*, float*, float*);

inline void real_forward(FftRun fft, const FftPlan* plan, const float* __restrict samples, float* re, float* im,
                         float* __restrict scratch) {
  const int h = plan->size;
  float* __restrict zr = scratch, * __restrict zi = scratch + h;
  for (int n = 0; n < h; ++n) zr[n] = samples[2 * n], zi[n] = samples[2 * n + 1];
  fft(plan, zr, zi, scratch + 2 * h);
  unfold_bins(*plan, zr, zi, re, im);
}

inline void real_backward(FftRun fft, const FftPlan* plan, const float* re, const float* im, float* __restrict samples,
                          float* __restrict scratch) {
  const int h = plan->size;
  float* __restrict zr = scratch, * __restrict zi = scratch + h;
  fold_bins(*plan, re, im, zr, zi);
  fft(plan, zr, zi, scratch + 2 * h);
  for (int n = 0; n < h; ++n) samples[2 * n] = zr[n], samples[2 * n + 1] = -zi[n];
}

}  // namespace
}  // namespace pocketuni
