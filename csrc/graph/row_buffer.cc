#include "graph/row_buffer.h"

#include <algorithm>
#include <cstring>

namespace pocketuni {

std::unique_ptr<AlignedBuffer> BufferPool::take(size_t bytes) {
  if (free_.empty()) return std::make_unique<AlignedBuffer>();
  size_t chosen = free_.size() - 1;
  for (size_t i = free_.size(); i-- > 0;) {
    if (free_[i]->capacity() < bytes) continue;
    chosen = i;
    break;
  }
  std::unique_ptr<AlignedBuffer> block = std::move(free_[chosen]);
  free_.erase(free_.begin() + static_cast<ptrdiff_t>(chosen));
  return block;
}

unsigned char* RowBuffer::append(int64_t rows, BufferPool& pool) {
  const size_t held = static_cast<size_t>(end_ - begin_) * row_bytes_, more = static_cast<size_t>(rows) * row_bytes_;
  if (block_ == nullptr) {
    block_ = pool.take(more);
    data_ = block_->data();
  }
  const size_t used = held == 0 ? 0 : static_cast<size_t>(data_ - block_->data());
  if (held + more > block_->capacity()) {
    // A block of another value cannot grow in place, for growing loses its content.
    const size_t bytes = std::max<size_t>(64, held + more + held / 2);
    std::unique_ptr<AlignedBuffer> larger = held == 0 ? std::move(block_) : pool.take(bytes);
    larger->reserve(bytes);
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
