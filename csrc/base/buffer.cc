#include "base/buffer.h"

#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace pocketuni {

AlignedBuffer::~AlignedBuffer() { std::free(data_); }

AlignedBuffer::AlignedBuffer(AlignedBuffer&& other) noexcept : data_(other.data_), capacity_(other.capacity_) {
  other.data_ = nullptr;
  other.capacity_ = 0;
}

void AlignedBuffer::reserve(size_t bytes) {
  if (bytes <= capacity_) return;
  // The old block goes first: its content is not kept, and both together would raise the peak.
  std::free(data_);
  data_ = nullptr;
  capacity_ = 0;
  if (bytes <= PTRDIFF_MAX - 63) {
    const size_t rounded = (bytes + 63) / 64 * 64;
    data_ = static_cast<unsigned char*>(std::aligned_alloc(64, rounded));
    if (data_) capacity_ = rounded;
  }
  if (!data_) throw Error(Status::kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
}

}  // namespace pocketuni
