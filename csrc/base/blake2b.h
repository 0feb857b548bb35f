// BLAKE2b (RFC 7693) with a 16-byte digest: the hash of the model file.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace pocketuni {

using Digest = std::array<uint8_t, 16>;

class Blake2b {
 public:
  Blake2b();
  void update(const void* data, size_t size);
  Digest finish();

 private:
  void compress(bool last);
  uint64_t h_[8];
  uint64_t counted_ = 0;
  uint8_t block_[128];
  size_t filled_ = 0;
};

Digest blake2b(const void* data, size_t size);

}  // namespace pocketuni
