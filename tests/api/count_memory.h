// Counts the allocations of a test program, and makes chosen ones fail: include it in one file of the program, since it
// replaces operator new. Counting is exact on one thread at a time.
#pragma once
#include <stdlib.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace memory {

inline std::atomic<long> live{0};   // allocations that were not freed
inline std::atomic<long> asked{0};  // since `fail_at` was called
inline std::atomic<long> failing{0};
inline std::atomic<bool> failed{false};  // the allocation that fail_at chose was asked for

/// The n-th allocation from now on fails, and no other; 0: none does.
inline void fail_at(long n) {
  asked = 0;
  failing = n;
}

inline bool refused() {
  if (failing == 0 || ++asked != failing) return false;
  failed = true;
  return true;
}

inline void* take(std::size_t bytes, std::size_t alignment) {
  if (refused()) return nullptr;
  void* block = nullptr;
  if (posix_memalign(&block, alignment < sizeof(void*) ? sizeof(void*) : alignment, bytes > 0 ? bytes : 1) != 0) {
    return nullptr;
  }
  ++live;
  return block;
}

inline void* take_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* block = take(bytes, alignment)) return block;
  throw std::bad_alloc();
}

inline void give_back(void* block) {
  if (block == nullptr) return;
  --live;
  std::free(block);
}

}  // namespace memory

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
constexpr std::size_t kPlain = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
void* operator new(std::size_t n) { return memory::take_or_throw(n, kPlain); }
void* operator new[](std::size_t n) { return memory::take_or_throw(n, kPlain); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return memory::take(n, kPlain); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return memory::take(n, kPlain); }
void* operator new(std::size_t n, std::align_val_t a) { return memory::take_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) {
  return memory::take_or_throw(n, static_cast<std::size_t>(a));
}
void operator delete(void* block) noexcept { memory::give_back(block); }
void operator delete[](void* block) noexcept { memory::give_back(block); }
void operator delete(void* block, std::size_t) noexcept { memory::give_back(block); }
void operator delete[](void* block, std::size_t) noexcept { memory::give_back(block); }
void operator delete(void* block, std::align_val_t) noexcept { memory::give_back(block); }
void operator delete[](void* block, std::align_val_t) noexcept { memory::give_back(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { memory::give_back(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { memory::give_back(block); }

/// AlignedBuffer takes its blocks here. They are freed by free(), which is not counted.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  void* block = nullptr;
  return memory::refused() || posix_memalign(&block, alignment, bytes) != 0 ? nullptr : block;
}
