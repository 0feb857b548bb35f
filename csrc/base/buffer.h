// A 64-byte aligned block of memory that grows and never shrinks.
#pragma once
#include <cstddef>

namespace pocketuni {

/// Bytes up to the next multiple of 64: what keeps the parts of a buffer aligned as the whole.
inline size_t round64(size_t bytes) { return (bytes + 63) / 64 * 64; }

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  ~AlignedBuffer();
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  AlignedBuffer(AlignedBuffer&& other) noexcept;

  /// Makes at least `bytes` available; the content is lost when it grows. Throws Error(kOutOfMemory).
  void reserve(size_t bytes);
  unsigned char* data() const { return data_; }
  size_t capacity() const { return capacity_; }

 private:
  unsigned char* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace pocketuni
