#include "graph/row_buffer.h"

#include <algorithm>
#include <cstring>

namespace pocketuni {

std::unique_ptr<AlignedBuffer> BufferPool::take() {
  if (free_.empty()) return std::make_unique<AlignedBuffer>();
  std::unique_ptr<AlignedBuffer> block = std::move(free_.back());
  free_.pop_back();
  return block;
}

unsigned char* RowBuffer::append(int64_t rows, BufferPool& pool) {
  const size_t held = static_cast<size_t>(end_ - begin_) * row_bytes_, more = static_cast<size_t>(rows) * row_bytes_;
  if (block_ == nullptr) {
    block_ = pool.take();
    data_ = block_->data();
  }
  const size_t used = held == 0 ? 0 : static_cast<size_t>(data_ - block_->data());
  if (held + more > block_->capacity()) {
    // A block of another value cannot grow in place, for growing loses its content.
    std::unique_ptr<AlignedBuffer> larger = held == 0 ? std::move(block_) : std::make_unique<AlignedBuffer>();
    larger->reserve(std::max<size_t>(64, held + more + held / 2));
    if (held > 0) {
      std::memcpy(larger->data(), data_, held);
      pool.give(std::move(block_));
    }
    block_ = std::move(larger);
    data_ = block_->data();
  } else if (held == 0 || used + held + more > block_->capacity()) {
    if (held > 0) std::memmove(block_->data(), data_, held);
    data_ = block_->data();
  }
  end_ += rows;
  return data_ + held;
}

void RowBuffer::drop_before(int64_t row, BufferPool& pool) {
  if (row <= begin_) return;
  row = std::min(row, end_);
  data_ += static_cast<size_t>(row - begin_) * row_bytes_;
  begin_ = row;
  if (begin_ == end_ && block_ != nullptr) pool.give(std::move(block_));
}

void RowBuffer::clear(BufferPool& pool) {
  drop_before(end_, pool);
  begin_ = end_ = 0;
}

}  // namespace pocketuni
