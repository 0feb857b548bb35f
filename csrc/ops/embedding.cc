// embedding: rows of a table by index, dequantized on the way.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/registry.h"

namespace pocketuni {
namespace {

class Embedding final : public Op {
 public:
  Embedding(const NodeSpec& node, const Inputs& inputs) : name_(node.name), table_(inputs[1].tensor) {
    if (table_ == nullptr || table_->dims.size() != 2) fail_argument("the table is not a constant of rank 2");
    const Encoding e = table_->encoding;
    if (e != Encoding::kF32 && e != Encoding::kF16 && e != Encoding::kRowsI8 && e != Encoding::kRowsI4) {
      fail_argument(std::string("a table cannot be ") + encoding_name(e));
    }
  }

  std::vector<TensorType> infer(const Inputs& in, const std::vector<int64_t>&) const override {
    expect_integer(in[0], "ids");
    Shape shape = in[0].type.shape;
    shape.push_back(table_->dims[1]);
    return {{DType::kF32, shape}};
  }

  TimeMap time_map(const Inputs&, const Axes&) const override { return TimeMap::rows_if(true); }

  void run(RunContext& context) const override {
    const Tensor& ids = context.inputs[0];
    const int64_t count = element_count(ids.type.shape), rows = table_->dims[0];
    for (int64_t i = 0; i < count; ++i) {
      const int64_t id = integer_at(ids, i);
      if (id < 0 || id >= rows) {
        fail_argument("node '" + name_ + "': index " + std::to_string(id) + " is outside its table of " +
                      std::to_string(rows) + " rows");
      }
    }
    const int64_t width = table_->dims[1];
    context.pool->parallel_parts(count, width, [&](int64_t begin, int64_t some, int) {
      for (int64_t i = begin; i < begin + some; ++i) {
        look_up(*context.kernels, integer_at(ids, i), context.outputs[0].f32() + i * width);
      }
    });
  }

 private:
  void look_up(const Kernels& kernels, int64_t id, float* y) const {
    const int64_t rows = table_->dims[0], width = table_->dims[1];
    const uint8_t* data = table_->data;
    switch (table_->encoding) {
      case Encoding::kF32:
        std::memcpy(y, data + id * width * 4, static_cast<size_t>(width) * 4);
        break;
      case Encoding::kF16:
        kernels.f16_to_f32(reinterpret_cast<const uint16_t*>(data) + id * width, y, static_cast<size_t>(width));
        break;
      case Encoding::kRowsI8: {
        const int8_t* q = reinterpret_cast<const int8_t*>(data + (rows * 4 + 63) / 64 * 64);
        kernels.dequantize_i8(q + id * width, reinterpret_cast<const float*>(data)[id], static_cast<int>(width), y);
        break;
      }
      default:
        kernels.dequantize_i4(data + id * (width / kGroup) * 18, static_cast<int>(width), y);
    }
  }

  std::string name_;
  const TensorEntry* table_;
};

}  // namespace

std::unique_ptr<Op> make_embedding(const NodeSpec& node, Attributes&, const Inputs& inputs) {
  return std::make_unique<Embedding>(node, inputs);
}

}  // namespace pocketuni
