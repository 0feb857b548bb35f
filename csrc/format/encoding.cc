// Names and sizes of what a tensor can be stored as (docs/format.md, Encodings).
#include "base/checked.h"
#include "format/model_file.h"

namespace pocketuni {

const char* encoding_name(Encoding encoding) {
  switch (encoding) {
    case Encoding::kF32:
      return "f32";
    case Encoding::kF16:
      return "f16";
    case Encoding::kI32:
      return "i32";
    case Encoding::kI64:
      return "i64";
    case Encoding::kBool:
      return "bool";
    case Encoding::kGemmF32:
      return "gemm_f32";
    case Encoding::kGemmF16:
      return "gemm_f16";
    case Encoding::kGemmI8:
      return "gemm_i8";
    case Encoding::kGemmI4:
      return "gemm_i4";
    case Encoding::kRowsI8:
      return "rows_i8";
    case Encoding::kRowsI4:
      return "rows_i4";
  }
  return "unknown";
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kI32:
      return "int32";
    case DType::kI64:
      return "int64";
    case DType::kBool:
      return "bool";
  }
  return "unknown";
}

size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kI64:
      return 8;
    case DType::kBool:
      return 1;
  }
  fail_format("unknown dtype " + std::to_string(static_cast<int>(dtype)));
}

namespace {

uint64_t row_major_size(uint64_t element_bytes, const std::vector<int64_t>& dims) {
  for (int64_t dim : dims) {
    if (dim == 0) return 0;  // before the product of the others can overflow
  }
  uint64_t size = element_bytes;
  for (int64_t dim : dims) size = checked_mul(size, static_cast<uint64_t>(dim));
  return size;
}

/// dims[0] and dims[1] are at least 1 and below 2^31, so products of two of them and a small constant that exceed
/// 64 bits are the only ones to check.
uint64_t matrix_size(Encoding encoding, uint64_t rows, uint64_t columns) {
  const uint64_t panels = (rows + 15) / 16, quads = (columns + 3) / 4, groups = (columns + 31) / 32;
  switch (encoding) {
    case Encoding::kGemmF32:
      return checked_mul(panels * columns, 16 * 4);
    case Encoding::kGemmF16:
      return checked_mul(panels * columns, 16 * 2);
    case Encoding::kGemmI8:
      return checked_add(panels * 64, checked_mul(panels * quads, 64));
    case Encoding::kGemmI4: {
      const uint64_t scales = align_up(checked_mul(panels * groups, 32), 64);
      return checked_add(scales, checked_mul(panels * groups, 256));
    }
    case Encoding::kRowsI8:
      return checked_add(align_up(rows * 4, 64), checked_mul(rows, columns));
    default:
      return checked_mul(rows * (columns / 32), 18);  // rows_i4
  }
}

}  // namespace

uint64_t encoded_size(Encoding encoding, const std::vector<int64_t>& dims) {
  for (int64_t dim : dims) {
    if (dim < 0 || dim >= int64_t{1} << 31) fail_format("dimension " + std::to_string(dim) + " is not in 0..2^31-1");
  }
  switch (encoding) {
    case Encoding::kF32:
    case Encoding::kI32:
      return row_major_size(4, dims);
    case Encoding::kF16:
      return row_major_size(2, dims);
    case Encoding::kI64:
      return row_major_size(8, dims);
    case Encoding::kBool:
      return row_major_size(1, dims);
    default:
      break;
  }
  const std::string name = encoding_name(encoding);
  if (name == "unknown") fail_format("unknown encoding " + std::to_string(static_cast<int>(encoding)));
  if (dims.size() != 2) fail_format(name + " takes 2 dimensions, got " + std::to_string(dims.size()));
  if (dims[0] < 1 || dims[1] < 1) fail_format(name + " takes dimensions of at least 1");
  if (encoding == Encoding::kRowsI4 && dims[1] % 32 != 0) {
    fail_format("rows_i4 takes rows of a multiple of 32, got " + std::to_string(dims[1]));
  }
  return matrix_size(encoding, static_cast<uint64_t>(dims[0]), static_cast<uint64_t>(dims[1]));
}

}  // namespace pocketuni
