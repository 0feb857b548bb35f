// META, BLOB and the tensor table.
#include "base/checked.h"
#include "format/model_parser.h"

namespace pocketuni {
namespace {

constexpr int kMaxRank = 8;

}  // namespace

void ModelParser::parse_meta() {
  const Section* section = find("META");
  file_.meta_.assign(reinterpret_cast<const char*>(file_.base_ + section->offset), section->size);
  if (!is_text(file_.meta_)) fail_format("section META: not UTF-8 without NUL");
  // The core does not interpret it; only that an object is there is worth a clear text now.
  const char* const spaces = " \t\r\n";
  const size_t first = file_.meta_.find_first_not_of(spaces), last = file_.meta_.find_last_not_of(spaces);
  if (first == std::string::npos || file_.meta_[first] != '{' || file_.meta_[last] != '}') {
    fail_format("section META: not a JSON object");
  }
}

void ModelParser::parse_blobs() {
  const Section* section = find("BLOB");
  if (!section) return;
  Reader reader = this->reader("BLOB");
  const uint32_t count = reader.count(4 + 1 + 8 + 8, "blobs");
  std::vector<uint64_t> offsets;
  for (uint32_t i = 0; i < count; ++i) {
    Blob blob;
    blob.name = reader.name("name of a blob");
    offsets.push_back(reader.u64());
    blob.size = reader.u64();
    file_.blobs_.push_back(std::move(blob));
  }
  uint64_t end = reader.position();
  std::vector<const std::string*> names;
  for (uint32_t i = 0; i < count; ++i) {
    Blob& blob = file_.blobs_[i];
    reader.set_place("blob " + quoted(blob.name));
    const std::string place = " (offset " + std::to_string(offsets[i]) + ", size " + std::to_string(blob.size) +
                              ", section " + std::to_string(section->size) + ")";
    if (offsets[i] > section->size || blob.size > section->size - offsets[i]) {
      reader.fail("lies outside the section" + place);
    }
    if (offsets[i] % 64 != 0) reader.fail("is not aligned to 64 bytes" + place);
    if (offsets[i] < end) reader.fail("overlaps what lies before it or is out of order" + place);
    blob.data = file_.base_ + section->offset + offsets[i];
    check_zero(section->offset + end, section->offset + offsets[i], "before blob " + quoted(blob.name));
    end = offsets[i] + blob.size;
    names.push_back(&blob.name);
  }
  reader.set_place("");
  check_zero(section->offset + end, section->offset + section->size, "behind the last blob");
  if (const std::string* twice = find_duplicate(names)) reader.fail("two blobs are named " + quoted(*twice));
}

void ModelParser::parse_tensors() {
  const Section* data = find("DATA");
  file_.data_offset_ = data->offset;
  file_.data_size_ = data->size;
  file_.data_hash_ = data->hash;
  Reader reader = this->reader("TENS");
  const uint32_t count = reader.count(4 + 1 + 4 + 8 + 8 + 16, "tensors");
  file_.tensors_.reserve(count);
  uint64_t end = 0;
  std::vector<const std::string*> names;
  for (uint32_t i = 0; i < count; ++i) {
    reader.set_place("tensor " + std::to_string(i));
    file_.tensors_.push_back(parse_tensor(reader, end));
    names.push_back(&file_.tensors_.back().name);
  }
  reader.set_place("");
  reader.expect_end();
  if (const std::string* twice = find_duplicate(names)) reader.fail("two tensors are named " + quoted(*twice));
}

TensorEntry ModelParser::parse_tensor(Reader& reader, uint64_t& end) {
  TensorEntry tensor;
  tensor.name = reader.name("name of a tensor");
  reader.set_place("tensor " + quoted(tensor.name));
  const uint8_t code = reader.u8(), rank = reader.u8();
  tensor.encoding = static_cast<Encoding>(code);
  if (rank > kMaxRank) reader.fail("rank " + std::to_string(rank) + " exceeds 8");
  if (reader.u16() != 0) reader.fail("reserved bytes are not zero");
  for (int i = 0; i < rank; ++i) tensor.dims.push_back(reader.u32());
  const uint64_t offset = reader.u64();
  tensor.size = reader.u64();
  tensor.hash = reader.digest();

  uint64_t expected = 0;
  try {
    expected = encoded_size(tensor.encoding, tensor.dims);
  } catch (const Error& error) {
    reader.fail(error.what());
  }
  const std::string place = " (offset " + std::to_string(offset) + ", size " + std::to_string(tensor.size) + ", DATA " +
                            std::to_string(file_.data_size_) + ")";
  if (tensor.size != expected) {
    reader.fail("size is " + std::to_string(tensor.size) + ", its encoding and dimensions give " +
                std::to_string(expected));
  }
  if (offset > file_.data_size_ || tensor.size > file_.data_size_ - offset) reader.fail("lies outside DATA" + place);
  if (offset % 64 != 0) reader.fail("is not aligned to 64 bytes" + place);
  if (offset < end) reader.fail("overlaps what lies before it or is out of order" + place);
  tensor.data = file_.base_ + file_.data_offset_ + offset;
  end = offset + tensor.size;
  return tensor;
}

}  // namespace pocketuni
