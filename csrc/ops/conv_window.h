// What the convolutions share: the attributes that say which rows, or which pixels, a result reads.
#pragma once
#include "ops/registry.h"

namespace pocketuni {

/// The window of a convolution of so many taps along one axis.
struct ConvGeometry {
  int64_t taps = 1, stride = 1, dilation = 1, pad_left = 0, pad_right = 0;

  /// Reads the attributes stride, dilation, pad_left and pad_right. Throws Error(kInvalidArgument) for a number outside
  /// its range.
  static ConvGeometry parse(Attributes& attributes, int64_t taps);
  /// Throws Error(kInvalidArgument) for a number outside its range.
  void check() const;

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

/// A window over pictures [batch, height, width, channels], or over time, which is a picture of one line.
struct PictureGeometry {
  static constexpr int kMostLines = 1024;
  ConvGeometry down, across;

  /// Reads the attributes kernel, stride, dilation (lists: down, across) and pads (top, left, bottom, right). Throws
  /// Error(kInvalidArgument).
  static PictureGeometry parse(Attributes& attributes);
  /// For each line under the window of the result's line `line`: its first pixel in a picture, -1 for a line outside.
  void lines(int64_t line, int64_t height, int64_t width, ptrdiff_t* rows) const {
    for (int64_t i = 0; i < down.taps; ++i) {
      const int64_t at = line * down.stride - down.pad_left + i * down.dilation;
      rows[i] = at >= 0 && at < height ? at * width : -1;
    }
  }
};

/// A shape [batch, time, channels] or [batch, height, width, channels].
struct Extent {
  int64_t batch, height, width;
  static Extent of(const Shape& shape) {
    return shape.size() == 3 ? Extent{shape[0], 1, shape[1]} : Extent{shape[0], shape[1], shape[2]};
  }
  int64_t pixels() const { return height * width; }
};

/// x as [batch, time, channels]; throws Error(kInvalidArgument) when it is not, or when the channels differ.
void check_conv_input(const InputInfo& x, int64_t channels);
/// x as [batch, height, width, channels]; throws Error(kInvalidArgument) when it is not, or when the channels differ
/// from `channels` (any, when that is -1).
void check_picture(const InputInfo& x, int64_t channels);
/// Throws Error(kInvalidArgument) when operand `index` is there and its shape is another.
void check_optional(const Inputs& in, size_t index, const Shape& shape, const char* role);
/// Data of an operand, or null when it is absent.
const float* optional_data(const RunContext& context, size_t index);

}  // namespace pocketuni
