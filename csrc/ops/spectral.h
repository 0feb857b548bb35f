// What the operators between samples and spectra share: sizes of frames and the window.
#pragma once
#include <vector>

#include "kernels/fft_tables.h"
#include "ops/registry.h"

namespace pocketuni {

/// Frames of n_fft samples every hop samples. Frame f covers samples f hop - edge .. f hop - edge + n_fft - 1.
struct FrameGeometry {
  int64_t n_fft, hop, edge;
  std::vector<float> window;  // periodic Hann

  /// Reads n_fft (a power of two, 64 to 4096) and hop (1 to n_fft, n_fft - hop even). Throws Error(kInvalidArgument).
  static FrameGeometry parse(Attributes& attributes);
  int64_t bins() const { return n_fft / 2 + 1; }
};

}  // namespace pocketuni
