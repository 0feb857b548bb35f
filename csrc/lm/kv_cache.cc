#include "lm/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "lm/half.h"

namespace pocketuni {
namespace {

// The product with the values runs over all positions that fit, those beyond the last one with a weight of 0: room is
// added in steps that keep that short.
constexpr int64_t kStep = 64;
constexpr int kBlock = 16;  // queries whose scores are in the cache at once

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace

KvCache::KvCache(const Kernels* kernels, const AttentionShape& shape, bool half)
    : kernels_(kernels), shape_(shape), half_(half), padded_(static_cast<int>(round_up(shape.width, kPanel))) {}

size_t KvCache::key_index(int head, int64_t slot, int column) const {
  const size_t panel = static_cast<size_t>(slot / kPanel), lane = static_cast<size_t>(slot % kPanel);
  const size_t width = static_cast<size_t>(shape_.width);
  return head * (static_cast<size_t>(capacity_) * width) + (panel * width + static_cast<size_t>(column)) * kPanel +
         lane;
}

size_t KvCache::value_index(int head, int64_t slot, int column) const {
  const size_t panel = static_cast<size_t>(column / kPanel), lane = static_cast<size_t>(column % kPanel);
  return head * head_elements() + (panel * static_cast<size_t>(capacity_) + static_cast<size_t>(slot)) * kPanel + lane;
}

float KvCache::get(const AlignedBuffer* buffer, size_t index) const {
  if (!half_) return reinterpret_cast<const float*>(buffer->data())[index];
  return to_float(reinterpret_cast<const uint16_t*>(buffer->data())[index]);
}

/// Forgets what no query from position end_ on sees, and makes the rest fit with `rows` more.
void KvCache::make_room(int64_t rows) {
  if (end_ + rows - base_ <= capacity_) return;
  int64_t base = base_;
  if (shape_.context > 0) base = std::max(base, (end_ - shape_.context + 1) / kPanel * kPanel);
  // A window moves on for ever: room for a part of it more, so that it is seldom copied.
  const int64_t spare = shape_.context > 0 ? std::max<int64_t>(rows, shape_.context / 4) : rows;
  move_to(base, std::max(capacity_, round_up(end_ - base + spare, kStep)));
}

void KvCache::move_to(int64_t base, int64_t capacity) {
  const size_t size = element(), shift = static_cast<size_t>(base - base_), kept = static_cast<size_t>(end_ - base);
  const size_t old_room = static_cast<size_t>(capacity_), room = static_cast<size_t>(capacity);
  const size_t width = static_cast<size_t>(shape_.width), panels = static_cast<size_t>(padded_ / kPanel);
  const size_t heads = static_cast<size_t>(shape_.kv_heads);
  auto keys = std::make_unique<AlignedBuffer>(), values = std::make_unique<AlignedBuffer>();
  keys->reserve(std::max<size_t>(64, heads * room * width * size));
  values->reserve(std::max<size_t>(64, heads * room * panels * kPanel * size));
  std::memset(keys->data(), 0, keys->capacity());
  std::memset(values->data(), 0, values->capacity());
  const size_t key_rows = (kept + kPanel - 1) / kPanel * kPanel;  // whole panels
  for (size_t head = 0; head < heads && kept > 0; ++head) {
    std::memcpy(keys->data() + head * room * width * size, keys_->data() + (head * old_room + shift) * width * size,
                key_rows * width * size);
    for (size_t panel = 0; panel < panels; ++panel) {
      const size_t at = head * panels + panel;
      std::memcpy(values->data() + at * room * kPanel * size, values_->data() + (at * old_room + shift) * kPanel * size,
                  kept * kPanel * size);
    }
  }
  keys_ = std::move(keys);
  values_ = std::move(values);
  base_ = base;
  capacity_ = capacity;
}

template <typename From, typename Convert>
void KvCache::append_as(const From* keys, const From* values, ptrdiff_t stride, size_t rows, Convert convert) {
  using To = decltype(convert(*keys));
  make_room(static_cast<int64_t>(rows));
  for (size_t row = 0; row < rows; ++row, keys += stride, values += stride, ++end_) {
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const From *key = keys + head * shape_.width, *value = values + head * shape_.width;
      To* key_to = reinterpret_cast<To*>(keys_->data()) + key_index(head, end_ - base_, 0);
      To* value_to = reinterpret_cast<To*>(values_->data()) + value_index(head, end_ - base_, 0);
      for (int c = 0; c < shape_.width; ++c) {
        key_to[c * kPanel] = convert(key[c]);
        value_to[c / kPanel * (capacity_ * kPanel) + c % kPanel] = convert(value[c]);
      }
    }
  }
}

void KvCache::append(const float* keys, const float* values, ptrdiff_t stride, size_t rows) {
  if (half_) {
    append_as(keys, values, stride, rows, [](float value) { return to_half(value); });
  } else {
    append_as(keys, values, stride, rows, [](float value) { return value; });
  }
}

void KvCache::append_halves(const uint16_t* keys, const uint16_t* values, ptrdiff_t stride, size_t rows) {
  if (half_) {
    append_as(keys, values, stride, rows, [](uint16_t half) { return half; });
  } else {
    append_as(keys, values, stride, rows, [](uint16_t half) { return to_float(half); });
  }
}

void KvCache::read(int64_t position, float* keys, float* values) const {
  const int64_t slot = position - base_;
  for (int head = 0; head < shape_.kv_heads; ++head) {
    for (int c = 0; c < shape_.width; ++c, ++keys, ++values) {
      *keys = get(keys_.get(), key_index(head, slot, c));
      *values = get(values_.get(), value_index(head, slot, c));
    }
  }
}

void KvCache::multiply(const float* x, ptrdiff_t x_stride, int rows, int k, const AlignedBuffer* tiles, size_t first,
                       int n, float* y, ptrdiff_t y_stride) const {
  const Epilogue plain;
  if (half_) {
    kernels_->gemm_f16(x, x_stride, rows, k, reinterpret_cast<const uint16_t*>(tiles->data()) + first, n, &plain, y,
                       y_stride);
  } else {
    kernels_->gemm_f32(x, x_stride, rows, k, reinterpret_cast<const float*>(tiles->data()) + first, n, &plain, y,
                       y_stride);
  }
}

void KvCache::attend(const float* queries, ptrdiff_t stride, size_t rows, float* out, ThreadPool* pool) {
  const size_t pitch = static_cast<size_t>(capacity_) * kBlock;
  const int64_t first = end_ - static_cast<int64_t>(rows);
  scores_.resize(pitch * static_cast<size_t>(pool->size()));
  const ptrdiff_t out_stride = static_cast<ptrdiff_t>(shape_.heads) * shape_.width;
  pool->parallel(shape_.heads, [&](int head, int thread) {
    for (size_t row = 0; row < rows; row += kBlock) {
      const int count = static_cast<int>(std::min<size_t>(kBlock, rows - row));
      const auto at = static_cast<ptrdiff_t>(row);
      attend_head(head, queries + at * stride, stride, first + at, count, out + at * out_stride,
                  scores_.data() + static_cast<size_t>(thread) * pitch);
    }
  });
}

/// Queries of the positions first .. first + rows - 1. Keys outside a query's window get a weight of 0, which leaves a
/// chain of fused multiply-adds as it is: results do not depend on what else is stored.
void KvCache::attend_head(int head, const float* queries, ptrdiff_t stride, int64_t first, int rows, float* out,
                          float* scores) const {
  const int64_t seen = first + rows - base_;  // slots that the last query sees
  const auto pitch = static_cast<ptrdiff_t>(capacity_);
  const int group = head / (shape_.heads / shape_.kv_heads);
  multiply(queries + head * shape_.width, stride, rows, shape_.width, keys_.get(), key_index(group, 0, 0),
           static_cast<int>(seen), scores, pitch);
  for (int row = 0; row < rows; ++row) {
    const int64_t position = first + row, to = position + 1 - base_;
    const int64_t from = shape_.context > 0 ? std::max(base_, position - shape_.context + 1) - base_ : 0;
    float* weights = scores + row * pitch;
    kernels_->softmax_f32(weights + from, 1, static_cast<int>(to - from), weights + from);
    std::fill_n(weights, from, 0.0f);
    std::fill(weights + to, weights + pitch, 0.0f);
  }
  const ptrdiff_t out_stride = static_cast<ptrdiff_t>(shape_.heads) * shape_.width;
  multiply(scores, pitch, rows, static_cast<int>(capacity_), values_.get(), value_index(group, 0, 0), shape_.width,
           out + head * shape_.width, out_stride);
}

}  // namespace pocketuni
