#include "ops/gemm_weight.h"

#include "base/error.h"

namespace pocketuni {

GemmWeight::GemmWeight(const TensorEntry* tensor) : tensor_(tensor) {
  if (tensor == nullptr || tensor->encoding < Encoding::kGemmF32 || tensor->encoding > Encoding::kGemmI4) {
    fail_argument("the weight is not in a gemm encoding");
  }
  outputs_ = static_cast<int>(tensor->dims[0]);
  k_ = static_cast<int>(tensor->dims[1]);
  panels_ = (outputs_ + kPanel - 1) / kPanel;
  quantized_ = tensor->encoding == Encoding::kGemmI8 || tensor->encoding == Encoding::kGemmI4;
  q_stride_ = (k_ + kGroup - 1) / kGroup * kGroup;
}

size_t GemmWeight::rounded_bytes(size_t rows) const {
  if (!quantized_) return 0;
  return round64(rows * q_stride_) + round64(rows * sizeof(float)) + round64(rows * (q_stride_ / kGroup) * 4);
}

QuantizedRows GemmWeight::rounded_rows(const unsigned char* scratch, size_t rows, size_t first) const {
  const unsigned char* scales = scratch + round64(rows * q_stride_);
  const unsigned char* sums = scales + round64(rows * sizeof(float));
  return {reinterpret_cast<const int8_t*>(scratch) + first * q_stride_, q_stride_,
          reinterpret_cast<const float*>(scales) + first,
          reinterpret_cast<const int32_t*>(sums) + first * (q_stride_ / kGroup)};
}

void GemmWeight::round(const Kernels& kernels, const float* x, ptrdiff_t x_stride, int count, unsigned char* scratch,
                       size_t rows, size_t first) const {
  const QuantizedRows to = rounded_rows(scratch, rows, first);
  kernels.quantize_rows(x, x_stride, count, k_, const_cast<int8_t*>(to.q), q_stride_, const_cast<float*>(to.scale),
                        const_cast<int32_t*>(to.sum));
}

void GemmWeight::multiply(const Kernels& kernels, const float* x, ptrdiff_t x_stride, const QuantizedRows& q, int rows,
                          int panel, int n, const Epilogue& epilogue, float* y, ptrdiff_t y_stride) const {
  const uint8_t* data = tensor_->data;
  const size_t tile = static_cast<size_t>(panel), k = static_cast<size_t>(k_), all = static_cast<size_t>(panels_);
  switch (tensor_->encoding) {
    case Encoding::kGemmF32:
      kernels.gemm_f32(x, x_stride, rows, k_, reinterpret_cast<const float*>(data) + tile * k * kPanel, n, &epilogue, y,
                       y_stride);
      break;
    case Encoding::kGemmF16:
      kernels.gemm_f16(x, x_stride, rows, k_, reinterpret_cast<const uint16_t*>(data) + tile * k * kPanel, n, &epilogue,
                       y, y_stride);
      break;
    case Encoding::kGemmI8:
      kernels.gemm_i8(&q, rows, k_, data + all * 64 + tile * ((k + 3) / 4) * 64,
                      reinterpret_cast<const float*>(data) + tile * kPanel, n, &epilogue, y, y_stride);
      break;
    default: {
      const size_t groups = (k + kGroup - 1) / kGroup;
      kernels.gemm_i4(&q, rows, k_, data + round64(all * groups * kPanel * 2) + tile * groups * 256,
                      reinterpret_cast<const uint16_t*>(data) + tile * groups * kPanel, n, &epilogue, y, y_stride);
    }
  }
}

}  // namespace pocketuni
