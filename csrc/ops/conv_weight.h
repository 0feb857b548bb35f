// The weight of a convolution as its kernels read it.
#pragma once
#include <mutex>

#include "base/buffer.h"
#include "ops/op.h"

namespace pocketuni {

/// The bytes of a `gemm_f32`, `gemm_f16` or `gemm_i8` weight as the file has them; of a `gemm_i4` weight, the same
/// weight as `gemm_i8`: made once, when it is first used, each output rounded as a row of activations is. Many threads
/// may ask.
class ConvWeight {
 public:
  /// Throws Error(kInvalidArgument) where `tensor` is null or not in a gemm encoding.
  explicit ConvWeight(const TensorEntry* tensor);

  int64_t outputs() const { return tensor_->dims[0]; }
  int64_t inputs() const { return tensor_->dims[1]; }
  /// kGemmI8 for weights in int4, too.
  Encoding encoding() const { return is_int4() ? Encoding::kGemmI8 : tensor_->encoding; }
  const uint8_t* data(const Kernels& kernels) const;

 private:
  bool is_int4() const { return tensor_->encoding == Encoding::kGemmI4; }
  void widen(const Kernels& kernels) const;

  const TensorEntry* tensor_;
  mutable std::once_flag once_;
  mutable AlignedBuffer widened_;
};

}  // namespace pocketuni
