#include "speech/fft.h"

#include <cmath>
#include <utility>

namespace pocketuni {
namespace {

constexpr double kTwoPi = 6.283185307179586476925;

void fill_circle(size_t size, std::vector<float>* cosine, std::vector<float>* sine) {
  for (size_t k = 0; k < size / 2; ++k) {
    const double angle = kTwoPi * static_cast<double>(k) / static_cast<double>(size);
    cosine->push_back(static_cast<float>(std::cos(angle)));
    sine->push_back(static_cast<float>(std::sin(angle)));
  }
}

}  // namespace

Fft::Fft(size_t size) : size_(size), reversed_(size) {
  for (size_t i = 0, j = 0; i < size; ++i) {
    reversed_[i] = j;
    size_t bit = size / 2;
    for (; bit > 0 && (j & bit) != 0; bit /= 2) j ^= bit;
    j |= bit;
  }
  fill_circle(size, &cosine_, &sine_);
}

void Fft::forward(float* re, float* im) const {
  for (size_t i = 0; i < size_; ++i) {
    const size_t j = reversed_[i];
    if (i < j) std::swap(re[i], re[j]), std::swap(im[i], im[j]);
  }
  for (size_t half = 1; half < size_; half *= 2) {
    const size_t stride = size_ / (2 * half);
    for (size_t start = 0; start < size_; start += 2 * half) {
      float *ar = re + start, *ai = im + start, *br = ar + half, *bi = ai + half;
      for (size_t k = 0; k < half; ++k) {
        const float c = cosine_[k * stride], s = sine_[k * stride];
        const float tr = br[k] * c + bi[k] * s, ti = bi[k] * c - br[k] * s;
        br[k] = ar[k] - tr, bi[k] = ai[k] - ti;
        ar[k] += tr, ai[k] += ti;
      }
    }
  }
}

RealInverse::RealInverse(size_t size) : half_(size / 2), re_(size / 2), im_(size / 2) {
  fill_circle(size, &cosine_, &sine_);
}

void RealInverse::run(const float* re, const float* im, float* samples) {
  // Even samples are the real part and odd ones the imaginary part of a signal of half the length. Its spectrum is
  // Z[k] = E[k] + i O[k] with E = (X[k] + conj X[h - k]) / 2 and O = (X[k] - conj X[h - k]) / 2 exp(2 pi i k / size).
  const size_t h = half_.size();
  for (size_t k = 0; k < h; ++k) {
    const float xi = k == 0 ? 0.0f : im[k], yi = k == 0 ? 0.0f : im[h - k];
    const float er = re[k] + re[h - k], ei = xi - yi;
    const float dr = re[k] - re[h - k], di = xi + yi;
    const float c = cosine_[k], s = sine_[k];
    const float orr = dr * c - di * s, oi = dr * s + di * c;
    // The inverse is the forward transform of the conjugate, conjugated.
    re_[k] = er - oi;
    im_[k] = -(ei + orr);
  }
  half_.forward(re_.data(), im_.data());
  const float scale = 1.0f / static_cast<float>(2 * h);
  for (size_t n = 0; n < h; ++n) {
    samples[2 * n] = re_[n] * scale;
    samples[2 * n + 1] = -im_[n] * scale;
  }
}

}  // namespace pocketuni
