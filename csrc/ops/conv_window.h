// What the convolutions over time share: the attributes that say which rows an output row reads.
#pragma once
#include "ops/registry.h"

namespace pocketuni {

/// The attributes stride, dilation, pad_left and pad_right of a convolution of so many taps.
struct ConvGeometry {
  int64_t taps, stride, dilation, pad_left, pad_right;

  /// Throws Error(kInvalidArgument) for a number outside its range.
  static ConvGeometry parse(Attributes& attributes, int64_t taps);

  int64_t span() const { return (taps - 1) * dilation + 1; }
  /// Rows of the result for so many rows of x.
  int64_t output_rows(int64_t rows) const {
    const int64_t free = rows + pad_left + pad_right - span();
    return free < 0 ? 0 : free / stride + 1;
  }
  /// The window of the result's row `row` and those behind it, counted from the start of the chunk, over x of `length`
  /// rows.
  ConvWindow window(const TimeChunk* chunk, int64_t row, int64_t length, const void* zeros) const {
    const int64_t shift = chunk != nullptr ? chunk->output_first * stride - chunk->input_first : 0;
    return {row * stride - pad_left + shift, length, stride, dilation, static_cast<int>(taps), zeros};
  }
  TimeMap time_map() const { return {TimeMap::kWindow, 1, stride, -pad_left, span() - 1 - pad_left}; }
};

/// x as [batch, time, channels]; throws Error(kInvalidArgument) when it is not, or when the channels differ.
void check_conv_input(const InputInfo& x, int64_t channels);
/// Throws Error(kInvalidArgument) when operand `index` is there and its shape is another.
void check_optional(const Inputs& in, size_t index, const Shape& shape, const char* role);
/// Data of an operand, or null when it is absent.
const float* optional_data(const RunContext& context, size_t index);

}  // namespace pocketuni
