#include <algorithm>
#include <string>
#include <vector>

#include "format/refuse.h"

using namespace pocketuni;
using build::Bytes;
using build::check_refused;
using build::entry;
using build::FileParts;
using build::open_bytes;
using build::Outcome;
using build::outcome_of;

namespace {

void test_sample_is_read() {
  const Bytes bytes = build::assemble(build::sample());
  const auto model = ModelFile::from_memory(bytes.data(), bytes.size());
  CHECK(model->path() == "<memory>" && model->file_size() == bytes.size());
  CHECK(model->meta_json() == build::sample().meta);
  CHECK(model->tensors().size() == 5 && model->towers().size() == 1 && model->blobs().size() == 2);
  const TensorEntry& bias = model->tensors()[1];
  CHECK(bias.name == "bias" && bias.encoding == Encoding::kF32 && bias.dims == std::vector<int64_t>{3});
  CHECK(bias.size == 12 && std::memcmp(bias.data, build::sample().data.data() + 320, 12) == 0);
  for (const TensorEntry& tensor : model->tensors()) {
    CHECK(reinterpret_cast<uintptr_t>(tensor.data) % 64 == 0, "%s", tensor.name.c_str());
  }
  CHECK(model->blobs()[1].name == "rules" && model->blobs()[1].size == 64 && model->blobs()[1].data[63] == 'a');
  const TowerSpec& tower = model->towers()[0];
  const std::vector<Dim> x_dims = {-2, -3, 5};
  CHECK(tower.name == "text" && tower.named_dims.size() == 2 && tower.named_dims[1] == "sequence");
  CHECK(tower.values.size() == 3 && tower.values[0].dims == x_dims && tower.values[2].dims[1] == kComputed);
  CHECK(tower.inputs == std::vector<uint32_t>{0} && tower.outputs == (std::vector<uint32_t>{2, 1}));
  const NodeSpec& linear = tower.nodes[0];
  CHECK(linear.op == "linear" && linear.name == "first" && linear.inputs.size() == 4 && linear.outputs[0] == 1);
  CHECK(linear.inputs[0].kind == Operand::kValue && linear.inputs[1].kind == Operand::kTensor);
  CHECK(linear.inputs[2].index == 1 && linear.inputs[3].kind == Operand::kAbsent);
  CHECK(std::get<std::string>(linear.attributes[0].value) == "none");
  const NodeSpec& relu = tower.nodes[1];
  CHECK(std::get<int64_t>(relu.attributes[0].value) == -1 && std::get<double>(relu.attributes[1].value) == 0.5);
  CHECK(std::get<std::vector<int64_t>>(relu.attributes[2].value) == (std::vector<int64_t>{1, 0}));
  CHECK(model->verify_weights().empty());
}

void test_truncation() {
  const Bytes whole = build::assemble(build::sample());
  for (size_t size = 0; size < whole.size(); ++size) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<long>(size));
    CHECK(open_bytes(cut).status == Status::kFormat, "cut at byte %zu", size);
    if (size < 32) continue;
    build::set(cut, 24, uint64_t{size});  // a cut that the header knows of
    build::reseal(cut);
    CHECK(open_bytes(cut).status == Status::kFormat, "cut at byte %zu and resealed", size);
  }
  Bytes longer = whole;
  longer.push_back(0);
  check_refused(longer, "something was appended");
}

/// Sections cut short from within: the file is whole, its parser runs out of bytes.
void test_short_sections() {
  const std::vector<build::Section> whole = build::sections_of(build::sample());
  for (size_t i = 0; i < whole.size(); ++i) {
    for (size_t size = 0; size < whole[i].bytes.size(); ++size) {
      std::vector<build::Section> sections = whole;
      sections[i].bytes.resize(size);
      const bool fits = whole[i].kind == "DATA" && size >= 512;
      const Outcome outcome = open_bytes(build::assemble(sections));
      CHECK((outcome.status == Status::kOk) == fits, "%s cut to %zu: %s", whole[i].kind.c_str(), size,
            outcome.text.c_str());
    }
  }
}

void test_flipped_bytes() {
  const Bytes whole = build::assemble(build::sample());
  const uint64_t data_begin = build::get<uint64_t>(whole, entry(4) + 8);
  const uint64_t data_end = data_begin + build::get<uint64_t>(whole, entry(4) + 16);
  for (size_t at = 0; at < whole.size(); ++at) {
    for (uint8_t mask : {0x01, 0x80, 0xFF}) {
      Bytes flipped = whole;
      flipped[at] ^= mask;
      if (at >= data_begin && at < data_end) {  // DATA is not read when a file is opened, and verified on demand
        CHECK(!ModelFile::from_memory(flipped.data(), flipped.size())->verify_weights().empty(), "byte %zu", at);
      } else {
        CHECK(open_bytes(flipped).status == Status::kFormat, "byte %zu, mask %02x", at, mask);
      }
      // With right hashes many flips are harmless (a name, an attribute): only no crash may come of it.
      build::reseal(flipped);
      const Outcome outcome = open_bytes(flipped);
      CHECK(outcome.status == Status::kOk || outcome.status == Status::kFormat, "byte %zu: %s", at,
            outcome.text.c_str());
    }
  }
}

/// Eight bytes anywhere in the metadata set to values that overflow something.
void test_hostile_numbers() {
  const Bytes whole = build::assemble(build::sample());
  const size_t end = build::get<uint64_t>(whole, entry(4) + 8);
  for (size_t at = 8; at < end; ++at) {
    for (uint64_t value :
         {uint64_t{0x7FFFFFFF}, uint64_t{0xFFFFFFFF}, uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 63}) {
      Bytes changed = whole;
      build::set(changed, at, value);
      build::reseal(changed);
      const Outcome outcome = open_bytes(changed);
      CHECK(outcome.status == Status::kOk || outcome.status == Status::kFormat, "byte %zu: %s", at,
            outcome.text.c_str());
    }
  }
}

void test_encoded_sizes() {
  const auto size_is = [](Encoding encoding, std::vector<int64_t> dims, uint64_t expected) {
    const uint64_t size = encoded_size(encoding, dims);
    CHECK(size == expected, "%s: %llu, not %llu", encoding_name(encoding), static_cast<unsigned long long>(size),
          static_cast<unsigned long long>(expected));
  };
  size_is(Encoding::kF32, {}, 4);
  size_is(Encoding::kF16, {3, 5}, 30);
  size_is(Encoding::kI64, {0, 0x7FFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF}, 0);
  size_is(Encoding::kBool, {7}, 7);
  size_is(Encoding::kGemmF32, {17, 3}, 2 * 3 * 16 * 4);
  size_is(Encoding::kGemmF16, {16, 3}, 3 * 16 * 2);
  size_is(Encoding::kGemmI8, {17, 5}, 2 * 64 + 2 * 2 * 64);
  size_is(Encoding::kGemmI4, {1, 33}, 64 + 2 * 256);
  size_is(Encoding::kGemmI4, {33, 32}, 128 + 3 * 256);  // 96 bytes of scales are padded
  size_is(Encoding::kRowsI8, {5, 3}, 64 + 15);
  size_is(Encoding::kRowsI4, {5, 64}, 5 * 36);
  const auto largest = [](Encoding encoding) { return encoded_size(encoding, {0x7FFFFFFF, 0x7FFFFFE0}); };
  CHECK(largest(Encoding::kGemmF32) == uint64_t{1 << 27} * 0x7FFFFFE0 * 64, "the largest matrix does not wrap");
  CHECK(largest(Encoding::kRowsI4) == uint64_t{0x7FFFFFFF} * (0x7FFFFFE0 / 32) * 18);
  const std::vector<int64_t> eight(8, 0x7FFFFFFF);
  CHECK(outcome_of([&] { encoded_size(Encoding::kBool, eight); }).status == Status::kFormat);
  CHECK(dtype_size(DType::kI64) == 8 && dtype_size(DType::kBool) == 1);
}

void test_verify_weights() {
  FileParts parts = build::sample();
  parts.data[449] = 2;
  const Bytes bytes = build::assemble(parts);
  const auto faults = ModelFile::from_memory(bytes.data(), bytes.size())->verify_weights();
  CHECK(faults.size() == 1 && faults[0].find("tensor 'flags': a bool is neither 0 nor 1") != std::string::npos);
  Bytes damaged = build::assemble(build::sample());
  damaged[build::get<uint64_t>(damaged, entry(4) + 8) + 330] ^= 1;
  const auto two = ModelFile::from_memory(damaged.data(), damaged.size())->verify_weights();
  CHECK(two.size() == 2 && two[0].find("DATA") != std::string::npos && two[1].find("'bias'") != std::string::npos);
}

}  // namespace

int main() {
  test_sample_is_read();
  test_truncation();
  test_short_sections();
  test_flipped_bytes();
  test_hostile_numbers();
  test_encoded_sizes();
  test_verify_weights();
  return check::summary();
}
