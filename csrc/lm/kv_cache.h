// Keys and values of one attention layer: appended position by position, kept in the order in which the products with
// them read their weights.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace pocketuni {

/// Heads of an attention layer and what they see. `context`: keys that a query sees, itself included; 0 for all.
struct AttentionShape {
  int heads = 1, kv_heads = 1, width = 1;  // width: of a head
  int64_t context = 0;
};

/// Positions are counted from the start; those that no later query sees are forgotten. The result for a position is the
/// same, bit for bit, however the positions were cut into calls. One caller at a time.
class KvCache {
 public:
  /// `half`: stored in half precision, else as floats.
  KvCache(const Kernels* kernels, const AttentionShape& shape, bool half);

  int64_t end() const { return end_; }
  void clear() { base_ = end_ = 0; }
  /// Forgets all positions from `end` on. Only without a context, where nothing before was forgotten.
  void rewind(int64_t end) { end_ = end; }
  /// Rows [kv_heads * width] of keys and of values, `stride` floats apart.
  void append(const float* keys, const float* values, ptrdiff_t stride, size_t rows);
  /// The same from halves.
  void append_halves(const uint16_t* keys, const uint16_t* values, ptrdiff_t stride, size_t rows);
  /// Attention of the last `rows` positions: queries [heads * width], scaled already, `stride` floats apart, to `out`
  /// [rows][heads * width]. Heads share the threads of the pool.
  void attend(const float* queries, ptrdiff_t stride, size_t rows, float* out, ThreadPool* pool);
  /// Row [kv_heads * width] of the keys, and of the values, of a position that is still there.
  void read(int64_t position, float* keys, float* values) const;

 private:
  size_t element() const { return half_ ? sizeof(uint16_t) : sizeof(float); }
  size_t head_elements() const { return static_cast<size_t>(capacity_) * static_cast<size_t>(padded_); }
  void make_room(int64_t rows);
  void move_to(int64_t base, int64_t capacity);
  template <typename From, typename Convert>
  void append_as(const From* keys, const From* values, ptrdiff_t stride, size_t rows, Convert convert);
  float get(const AlignedBuffer* buffer, size_t index) const;
  size_t key_index(int head, int64_t slot, int column) const;
  size_t value_index(int head, int64_t slot, int column) const;
  void multiply(const float* x, ptrdiff_t x_stride, int rows, int k, const AlignedBuffer* tiles, size_t first, int n,
                float* y, ptrdiff_t y_stride) const;
  void attend_head(int head, const float* queries, ptrdiff_t stride, int64_t first, int rows, float* out,
                   float* scores) const;

  const Kernels* kernels_;
  AttentionShape shape_;
  bool half_;
  int padded_;                             // width of a head, rounded up to whole panels
  int64_t base_ = 0, end_ = 0;             // positions that are stored: base_ is a multiple of a panel
  int64_t capacity_ = 0;                   // positions that fit, a multiple of kStep
  std::unique_ptr<AlignedBuffer> keys_;    // [kv_heads][capacity / 16][width][16]
  std::unique_ptr<AlignedBuffer> values_;  // [kv_heads][padded / 16][capacity][16]
  std::vector<float> scores_;
};

}  // namespace pocketuni
