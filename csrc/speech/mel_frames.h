// Mel frames of a recording while it is made.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "graph/session.h"

namespace pocketuni {

/// The mel of docs/voice.md (80 bands, a frame every 256 samples at kRateHz). A frame comes as soon as its samples are
/// there, 640 beyond its first; the last ones of a recording, which would need samples mirrored at its end, never come.
/// Rows do not depend on how the samples are cut into pieces, nor on the number of threads. Not thread-safe.
class MelFrames {
 public:
  explicit MelFrames(const SessionOptions& options);

  /// Appends 80 floats to `mel` for each frame that these samples, with those before, complete.
  void push(const float* samples, size_t count, std::vector<float>* mel);

 private:
  const Kernels* kernels_;
  ThreadPool pool_;
  std::unique_ptr<Op> op_;
  AlignedBuffer scratch_;
  std::vector<float> held_;  // samples from first_ on
  int64_t first_ = 0, frame_ = 0;
};

}  // namespace pocketuni
