// Seeded normal noise: a function of seed and place, so that it depends neither on threads nor on what was drawn
// before.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pocketuni {

/// `count` normal numbers of the standard deviation given for a row of a sequence. `clamp` > 0: none beyond it; those
/// that would be are drawn anew.
void normal_noise(uint64_t seed, uint64_t sequence, uint64_t row, double deviation, double clamp, size_t count,
                  float* out);

}  // namespace pocketuni
