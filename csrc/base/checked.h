// Overflow-safe arithmetic on sizes that come from a file or a caller.
#pragma once
#include <cstdint>

#include "base/error.h"

namespace pocketuni {

inline uint64_t checked_mul(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) fail_format("a size overflows 64 bits");
  return product;
}

inline uint64_t checked_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail_format("a size overflows 64 bits");
  return sum;
}

inline uint64_t align_up(uint64_t value, uint64_t alignment) {
  return checked_add(value, alignment - 1) / alignment * alignment;
}

}  // namespace pocketuni
