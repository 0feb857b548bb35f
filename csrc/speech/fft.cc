#include "speech/fft.h"

namespace pocketuni {
namespace {

const Kernels& kernels() {
  const Kernels* fastest = default_kernels(nullptr);
  return fastest != nullptr ? *fastest : *usable_kernels()[0];
}

}  // namespace

Fft::Fft(size_t size) : tables_(static_cast<int>(size)), scratch_(tables_.scratch_floats()) {}

void Fft::forward(float* re, float* im) {
  const FftPlan plan = tables_.plan();
  kernels().fft_f32(&plan, re, im, scratch_.data());
}

RealInverse::RealInverse(size_t size) : tables_(static_cast<int>(size / 2)), scratch_(tables_.scratch_floats()) {}

void RealInverse::run(const float* re, const float* im, float* samples) {
  const FftPlan plan = tables_.plan();
  kernels().real_inverse_f32(&plan, re, im, samples, scratch_.data());
}

}  // namespace pocketuni
