// A 64-byte aligned block of memory that grows and never shrinks.
#pragma once
#include <cstddef>

namespace pocketuni {

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
