// A product with some panels of a weight, whatever its encoding.
#pragma once
#include <algorithm>

#include "base/buffer.h"
#include "ops/op.h"

namespace pocketuni {

/// Weights `[outputs, k]` in a gemm encoding. Throws Error(kInvalidArgument) for another one.
class GemmWeight {
 public:
  explicit GemmWeight(const TensorEntry* tensor);

  int outputs() const { return outputs_; }
  int k() const { return k_; }
  int panels() const { return panels_; }
  /// Whether rows are rounded to int8 first: `multiply` then reads `q` and not `x`.
  bool quantized() const { return quantized_; }
  /// Bytes of a weight that is a float.
  int element_bytes() const { return tensor_->encoding == Encoding::kGemmF16 ? 2 : 4; }
  /// Bytes of a rounded row.
  int q_stride() const { return q_stride_; }
  /// Bytes of scratch for rounded rows: q, scales and sums, each 64-byte aligned; 0 for float weights.
  size_t rounded_bytes(size_t rows) const;
  /// The views of such scratch, from row `first` on.
  QuantizedRows rounded_rows(const unsigned char* scratch, size_t rows, size_t first) const;
  /// Rounds rows [first, first + count) of `x`, whose first row is row `first`, into scratch for `rows`.
  void round(const Kernels& kernels, const float* x, ptrdiff_t x_stride, int count, unsigned char* scratch, size_t rows,
             size_t first) const;

  /// y[rows][n] = epilogue(x w^T) for the outputs [panel * 16, panel * 16 + n).
  void multiply(const Kernels& kernels, const float* x, ptrdiff_t x_stride, const QuantizedRows& q, int rows, int panel,
                int n, const Epilogue& epilogue, float* y, ptrdiff_t y_stride) const;

 private:
  const TensorEntry* tensor_;
  int outputs_, k_, panels_, q_stride_;
  bool quantized_;
};

}  // namespace pocketuni
