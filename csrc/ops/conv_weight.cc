#include "ops/conv_weight.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

/// The rows of a panel of a `gemm_i4` weight of `groups` groups along K, as float: rows [16][groups * 32].
void dequantize_panel(const Kernels& kernels, const uint16_t* scales, const uint8_t* nibbles, int64_t groups,
                      float* rows) {
  for (int64_t g = 0; g < groups; ++g) {
    float scale[kPanel];
    kernels.f16_to_f32(scales + g * kPanel, scale, kPanel);
    for (int64_t i = 0; i < 256; ++i) {
      const int64_t v = i / 64, lane = i / 4 % kPanel, j = i % 4;
      const int byte = nibbles[g * 256 + i];
      float* to = rows + (lane * groups + g) * kGroup + v * 4 + j;
      to[0] = static_cast<float>((byte & 15) - 8) * scale[lane];
      to[16] = static_cast<float>((byte >> 4) - 8) * scale[lane];
    }
  }
}

}  // namespace

ConvWeight::ConvWeight(const TensorEntry* tensor) : tensor_(tensor) {
  if (tensor == nullptr || tensor->encoding < Encoding::kGemmF32 || tensor->encoding > Encoding::kGemmI4) {
    fail_argument("the weight is not in a gemm encoding");
  }
}

const uint8_t* ConvWeight::data(const Kernels& kernels) const {
  if (!is_int4()) return tensor_->data;
  std::call_once(once_, [&] { widen(kernels); });
  return widened_.data();
}

void ConvWeight::widen(const Kernels& kernels) const {
  const int64_t panels = (outputs() + kPanel - 1) / kPanel, quads = (inputs() + 3) / 4;
  const int64_t groups = (inputs() + kGroup - 1) / kGroup, width = groups * kGroup;
  widened_.reserve(static_cast<size_t>(panels) * kPanel * (sizeof(float) + static_cast<size_t>(quads) * 4));
  float* scale = reinterpret_cast<float*>(widened_.data());
  uint8_t* tiles = widened_.data() + panels * 64;
  const uint16_t* scales = reinterpret_cast<const uint16_t*>(tensor_->data);
  const uint8_t* nibbles = tensor_->data + round64(static_cast<size_t>(panels * groups * kPanel) * sizeof *scales);
  std::vector<float> rows(static_cast<size_t>(kPanel * width));
  std::vector<int8_t> q(rows.size());
  std::vector<int32_t> sum(static_cast<size_t>(kPanel * groups));
  for (int64_t p = 0; p < panels; ++p, tiles += quads * 64) {
    dequantize_panel(kernels, scales + p * groups * kPanel, nibbles + p * groups * 256, groups, rows.data());
    kernels.quantize_rows(rows.data(), width, kPanel, static_cast<int>(inputs()), q.data(), width, scale + p * kPanel,
                          sum.data());
    for (int64_t i = 0; i < quads * 64; ++i) {
      const int8_t value = q[static_cast<size_t>(i / 4 % kPanel * width + i / 64 * 4 + i % 4)];
      tiles[i] = static_cast<uint8_t>(value + 128);
    }
  }
}

}  // namespace pocketuni
