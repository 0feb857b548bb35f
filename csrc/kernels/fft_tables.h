// The tables that the Fourier transforms read, for one size; immutable, shared by threads.
#pragma once
#include <vector>

#include "kernels.h"

namespace pocketuni {

class FftTables {
 public:
  /// Of `size` complex numbers or 2 * size real ones; a power of two from 4 to 65536.
  explicit FftTables(int size);
  FftPlan plan() const { return {size_, twiddles_.data(), turn_.data()}; }
  /// Floats of scratch that a transform needs.
  size_t scratch_floats() const { return static_cast<size_t>(size_) * 4; }

 private:
  int size_;
  std::vector<float> twiddles_, turn_;
};

}  // namespace pocketuni
