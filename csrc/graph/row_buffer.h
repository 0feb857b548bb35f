// Rows of one value of a stream: appended at the end, dropped at the front. Memory comes from a pool that the values of
// a stream share, so that what was used last, and is still in the cache, is used next.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "base/buffer.h"

namespace pocketuni {

class BufferPool {
 public:
  /// Of the blocks that were given back, the last one that has `bytes`, else the last one, else a new one: there are
  /// never more blocks than were held at once. Its content is not defined.
  std::unique_ptr<AlignedBuffer> take(size_t bytes);
  void give(std::unique_ptr<AlignedBuffer> block) { free_.push_back(std::move(block)); }

 private:
  std::vector<std::unique_ptr<AlignedBuffer>> free_;
};

/// Holds the rows [begin, end) of an endless sequence.
class RowBuffer {
 public:
  void set_row_bytes(size_t bytes) { row_bytes_ = bytes; }
  size_t row_bytes() const { return row_bytes_; }
  int64_t begin() const { return begin_; }
  int64_t end() const { return end_; }
  unsigned char* at(int64_t row) const { return data_ + static_cast<size_t>(row - begin_) * row_bytes_; }

  /// Makes room for rows behind the last one and returns where they are to be written; the others may move.
  unsigned char* append(int64_t rows, BufferPool& pool);
  /// Forgets the rows before `row` (none when it lies before the first).
  void drop_before(int64_t row, BufferPool& pool);
  /// Forgets everything; the next row is row 0.
  void clear(BufferPool& pool);

 private:
  size_t row_bytes_ = 0;
  int64_t begin_ = 0, end_ = 0;
  unsigned char* data_ = nullptr;  // of row begin_
  std::unique_ptr<AlignedBuffer> block_;
};

}  // namespace pocketuni
