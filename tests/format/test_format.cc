#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "format/build_file.h"
#include "format/model_file.h"

using namespace pocketuni;
using build::Bytes;
using build::FileParts;

namespace {

struct Outcome {
  Status status = Status::kOk;
  std::string text;
};

template <typename F>
Outcome outcome_of(F body) {
  try {
    body();
  } catch (const Error& error) {
    return {error.status(), error.what()};
  }
  return {};
}

/// Opens exactly these bytes, aligned as a map would be and with nothing readable behind them under ASan.
Outcome open_bytes(const Bytes& bytes) {
  void* aligned = nullptr;
  if (posix_memalign(&aligned, 64, bytes.size()) != 0) std::abort();
  if (!bytes.empty()) std::memcpy(aligned, bytes.data(), bytes.size());
  const Outcome outcome = outcome_of([&] { ModelFile::from_memory(aligned, bytes.size()); });
  std::free(aligned);
  return outcome;
}

void check_refused(const Bytes& bytes, const std::string& fault) {
  const Outcome outcome = open_bytes(bytes);
  CHECK(outcome.status == Status::kFormat, "expected '%s', got status %d '%s'", fault.c_str(),
        static_cast<int>(outcome.status), outcome.text.c_str());
  CHECK(outcome.text.find(fault) != std::string::npos, "expected '%s', got '%s'", fault.c_str(), outcome.text.c_str());
  CHECK(outcome.text.rfind("<memory>: ", 0) == 0, "the file is not named: '%s'", outcome.text.c_str());
}

/// The sample with one part changed.
void refuse(const std::function<void(FileParts&)>& change, const std::string& fault) {
  FileParts parts = build::sample();
  change(parts);
  check_refused(build::assemble(parts), fault);
}

/// The sample's bytes changed, with right hashes around them.
void refuse_bytes(const std::function<void(Bytes&)>& change, const std::string& fault) {
  Bytes bytes = build::assemble(build::sample());
  change(bytes);
  build::reseal(bytes);
  check_refused(bytes, fault);
}

size_t entry(int section) { return 64 + 64 * static_cast<size_t>(section); }  // META TENS TOWR BLOB DATA

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

void test_header_faults() {
  check_refused({}, "the file is empty");
  check_refused(Bytes(100, 'x'), "not a .puni model file");
  check_refused({0x89, 'P', 'U', 'N', 'I', '\r', '\n', 0x1A, 1, 0}, "the file has 10 bytes");
  refuse_bytes([](Bytes& b) { b[1] = 'Q'; }, "not a .puni model file");
  refuse_bytes([](Bytes& b) { b[8] = 2; }, "format version 2 is not known");
  refuse_bytes([](Bytes& b) { b[16 + 5] = 1; }, "needs features that this reader does not know");
  refuse_bytes([](Bytes& b) { build::set<uint64_t>(b, 24, uint64_t{1} << 63); },
               "header says 9223372036854775808 bytes");
  refuse_bytes([](Bytes& b) { build::set<uint64_t>(b, 24, b.size() - 1); }, "something was appended");
  refuse_bytes([](Bytes& b) { b[40] = 1; }, "reserved bytes of the header");
  refuse_bytes([](Bytes& b) { build::set<uint32_t>(b, 12, 0); }, "number of sections is 0");
  refuse_bytes([](Bytes& b) { build::set<uint32_t>(b, 12, 65); }, "number of sections is 65");
  refuse_bytes([](Bytes& b) { build::set<uint32_t>(b, 12, 64); }, "section table lies outside the file");
  Bytes minor = build::assemble(build::sample());
  minor[10] = 7;
  build::reseal(minor);
  CHECK(open_bytes(minor).status == Status::kOk, "a newer minor version is read");
  Bytes damaged = build::assemble(build::sample());
  damaged[entry(2) + 40 - 1] ^= 1;
  check_refused(damaged, "hash of header and section table does not match");
}

void test_section_faults() {
  const auto set_offset = [](int section, uint64_t offset) {
    return [=](Bytes& b) { build::set(b, entry(section) + 8, offset); };
  };
  const Bytes whole = build::assemble(build::sample());
  const auto offset_of = [&](int section) { return build::get<uint64_t>(whole, entry(section) + 8); };
  refuse_bytes(set_offset(1, uint64_t{1} << 63),
               "section TENS lies outside the file (offset 9223372036854775808, size ");
  refuse_bytes([](Bytes& b) { build::set<uint64_t>(b, entry(1) + 16, uint64_t{1} << 63); },
               "section TENS lies outside the file");
  refuse_bytes([](Bytes& b) { build::set<uint64_t>(b, entry(4) + 16, UINT64_MAX - 63); },
               "section DATA lies outside the file");
  refuse_bytes(set_offset(1, offset_of(1) + 4), "section TENS is not aligned to 64 bytes");
  refuse_bytes(set_offset(2, offset_of(1)), "section TOWR overlaps what lies before it");
  refuse_bytes(set_offset(0, 0), "section META overlaps what lies before it");
  refuse_bytes(set_offset(0, offset_of(1)), "section META");
  refuse_bytes([](Bytes& b) { b[entry(3) + 50] = 1; }, "section BLOB: reserved bytes are not zero");
  refuse_bytes([](Bytes& b) { b[entry(3) + 4] = 2; }, "section BLOB: unknown flags 2");
  refuse_bytes([&](Bytes& b) { b[offset_of(1) - 1] = 1; }, "bytes before section TENS are not zero");
  refuse_bytes([](Bytes& b) { b.back() = 1; }, "bytes behind the last section are not zero");
  refuse_bytes([](Bytes& b) { b.resize(b.size() - 1), build::set<uint64_t>(b, 24, b.size()); },
               "64 zero bytes expected");
  Bytes damaged = whole;
  damaged[offset_of(2) + 4] ^= 1;
  check_refused(damaged, "section TOWR: the hash does not match");

  std::vector<build::Section> sections = build::sections_of(build::sample());
  const auto without = [&](const char* kind) {
    std::vector<build::Section> rest;
    for (const auto& section : sections) {
      if (section.kind != kind) rest.push_back(section);
    }
    return build::assemble(rest);
  };
  for (const char* kind : {"META", "TENS", "TOWR", "DATA"}) {
    check_refused(without(kind), "section " + std::string(kind) + " is missing");
  }
  CHECK(open_bytes(without("BLOB")).status == Status::kOk, "BLOB is optional");
  for (size_t i = 0; i < sections.size(); ++i) {
    std::vector<build::Section> doubled = sections;
    doubled.push_back(sections[i]);
    check_refused(build::assemble(doubled), "section " + sections[i].kind + " appears 2 times");
  }
  sections.push_back({"NEW!", Bytes(10, 1)});
  sections.push_back({"NEW!", Bytes(10, 1)});
  CHECK(open_bytes(build::assemble(sections)).status == Status::kOk, "unknown sections are skipped");
  Bytes skipped = build::assemble(sections);
  skipped[build::get<uint64_t>(skipped, entry(5) + 8)] = 2;
  check_refused(skipped, "section NEW!: the hash does not match");
  sections.back().kind = "\x01YZ ";
  sections.back().flags = 1;
  check_refused(build::assemble(sections), "section ?YZ? is not known to this reader and may not be skipped");
}

void test_meta_and_blob_faults() {
  refuse([](FileParts& p) { p.meta = "{\"name\": \"\xFF\"}"; }, "section META: not UTF-8");
  refuse([](FileParts& p) { p.meta = std::string("{\0}", 3); }, "section META: not UTF-8 without NUL");
  for (const char* meta : {"", "  ", "[1]", "{", "}"}) {
    refuse([&](FileParts& p) { p.meta = meta; }, "section META: not a JSON object");
  }
  refuse([](FileParts& p) { p.blobs[1].name = "vocab"; }, "section BLOB: two blobs are named 'vocab'");
  refuse([](FileParts& p) { p.blobs[1].size = 65; }, "blob 'rules': lies outside the section (offset 128, size 65");
  refuse([](FileParts& p) { p.blobs[1].size = UINT64_MAX; }, "blob 'rules': lies outside the section");
  refuse([](FileParts& p) { p.blobs[1].offset = uint64_t{1} << 63; }, "blob 'rules': lies outside the section");
  refuse([](FileParts& p) { p.blobs[1].offset = 120; }, "blob 'rules': is not aligned");
  refuse([](FileParts& p) { p.blobs[1].offset = 64; }, "blob 'rules': overlaps");
  refuse([](FileParts& p) { p.blobs[0].offset = 0; }, "blob 'vocab': overlaps");
  refuse([](FileParts& p) { p.blobs[0].name = ""; }, "name of a blob before offset 8 is empty");
  refuse([](FileParts& p) { p.blob_bytes[20] = 1; }, "before blob 'rules' are not zero");
  refuse([](FileParts& p) { p.blobs[1].size = 60; }, "behind the last blob are not zero");
}

void test_tensor_faults() {
  refuse([](FileParts& p) { p.tensors[1].name = "weight"; }, "section TENS: two tensors are named 'weight'");
  refuse([](FileParts& p) { p.tensors[1].name = ""; }, "section TENS, tensor 1: name of a tensor");
  for (const std::string& name : {std::string("a\0b", 3), std::string("\xC0\x80"), std::string("\xED\xA0\x80"),
                                  std::string("\xF4\x90\x80\x80"), std::string("\xE2\x82"), std::string("\x80")}) {
    refuse([&](FileParts& p) { p.tensors[1].name = name; }, "is not UTF-8 without NUL");
  }
  refuse([](FileParts& p) { p.tensors[1].name = std::string(300, 'n'), p.tensors[1].encoding = 9; },
         "nnn...': unknown");
  refuse([](FileParts& p) { p.tensors[1].encoding = 5; }, "tensor 'bias': unknown encoding 5");
  refuse([](FileParts& p) { p.tensors[1].reserved = 1; }, "tensor 'bias': reserved bytes");
  refuse([](FileParts& p) { p.tensors[1].rank = 9; }, "tensor 'bias': rank 9 exceeds 8");
  refuse([](FileParts& p) { p.tensors[1].dims = {0x80000000u}; }, "tensor 'bias': dimension 2147483648 is not in");
  refuse([](FileParts& p) { p.tensors[1].dims = {4}; },
         "tensor 'bias': size is 12, its encoding and dimensions give 16");
  refuse([](FileParts& p) { p.tensors[1].dims.assign(3, 0x7FFFFFFF); }, "tensor 'bias': a size overflows 64 bits");
  refuse([](FileParts& p) { p.tensors[0].dims = {3, 5, 1}; }, "gemm_f32 takes 2 dimensions, got 3");
  refuse([](FileParts& p) { p.tensors[0].dims = {0, 5}; }, "gemm_f32 takes dimensions of at least 1");
  refuse([](FileParts& p) { p.tensors[2].dims = {2, 33}; }, "rows_i4 takes rows of a multiple of 32, got 33");
  refuse([](FileParts& p) { p.tensors[1].offset = 324; }, "tensor 'bias': is not aligned");
  refuse([](FileParts& p) { p.tensors[1].offset = 256; }, "tensor 'bias': overlaps");
  refuse([](FileParts& p) { p.tensors[1].offset = 512; },
         "tensor 'bias': lies outside DATA (offset 512, size 12, DATA 512)");
  refuse([](FileParts& p) { p.tensors[1].offset = UINT64_MAX - 63; }, "tensor 'bias': lies outside DATA");
  refuse([](FileParts& p) { p.tensors[4].offset = 576; }, "tensor 'empty': lies outside DATA");
  std::vector<build::Section> sections = build::sections_of(build::sample());
  sections[1].bytes.push_back(0);
  check_refused(build::assemble(sections), "section TENS: 1 bytes behind the last entry");
  build::set<uint32_t>(sections[1].bytes, 0, 0xFFFFFFFF);
  check_refused(build::assemble(sections), "section TENS: 4294967295 tensors do not fit into the");
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

void test_tower_faults() {
  const auto change = [](const std::function<void(TowerSpec&)>& edit, const std::string& fault) {
    refuse([&](FileParts& parts) { edit(parts.towers[0]); }, fault);
  };
  refuse([](FileParts& p) { p.towers.push_back(p.towers[0]); }, "section TOWR: two towers are named 'text'");
  change([](TowerSpec& t) { t.name = ""; }, "tower 0: name of a tower");
  change([](TowerSpec& t) { t.named_dims.assign(17, "d"); }, "tower 'text': 17 named dimensions");
  change([](TowerSpec& t) { t.named_dims[1] = "batch"; }, "two dimensions are named 'batch'");
  change([](TowerSpec& t) { t.values[1].name = "x"; }, "tower 'text': two values are named 'x'");
  change([](TowerSpec& t) { t.values[1].name = ""; }, "name of a value");
  change([](TowerSpec& t) { t.values[1].dtype = static_cast<DType>(4); }, "value 'y': unknown dtype 4");
  change([](TowerSpec& t) { t.values[1].dims.assign(9, 1); }, "value 'y': rank 9 exceeds 8");
  change([](TowerSpec& t) { t.values[1].dims[0] = -4; }, "value 'y': dimension -4 names dimension 2, the tower has 2");
  change([](TowerSpec& t) { t.values[1].dims[0] = INT64_MIN; }, "value 'y': dimension -9223372036854775808 names");
  change([](TowerSpec& t) { t.values[1].dims[0] = int64_t{1} << 31; }, "value 'y': dimension 2147483648 is not below");
  change([](TowerSpec& t) { t.values[0].dims[0] = -1; }, "input 'x' has a computed dimension");
  change([](TowerSpec& t) { t.inputs = {3}; }, "inputs names value 3, the tower has 3");
  change([](TowerSpec& t) { t.inputs = {0, 0}; }, "value 'x' is an input twice");
  change([](TowerSpec& t) { t.outputs = {9}; }, "outputs names value 9");
  change([](TowerSpec& t) { t.nodes[0].op = ""; }, "node 0: op of a node");
  change([](TowerSpec& t) { t.nodes[0].inputs[0].index = 3; },
         "tower 'text', node 0 'first' ('linear'): an operand names value 3, the tower has 3");
  change([](TowerSpec& t) { t.nodes[0].inputs[1].index = 5; }, "an operand names tensor 5, the file has 5");
  change([](TowerSpec& t) { t.nodes[0].inputs[1].index = 0x7FFFFFFE; }, "an operand names tensor 2147483646");
  change([](TowerSpec& t) { t.nodes[0].outputs[0] = 3; }, "node 0 'first' ('linear'): results names value 3");
  change([](TowerSpec& t) { t.nodes[0].inputs[0].index = 1; }, "node 0 'first' ('linear') reads value 'y' before");
  change([](TowerSpec& t) { t.nodes[0].inputs[0].index = 2; }, "reads value 'z' before it is written");  // a cycle
  change([](TowerSpec& t) { std::swap(t.nodes[0], t.nodes[1]); }, "node 0 'second' ('relu') reads value 'y' before");
  change([](TowerSpec& t) { t.nodes[1].outputs = {1}; }, "writes value 'y', which is written already");
  change([](TowerSpec& t) { t.nodes[1].outputs = {0}; }, "writes value 'x', which is written already");
  change([](TowerSpec& t) { t.nodes.pop_back(); }, "output 'z' is never written");
  change([](TowerSpec& t) { t.nodes.pop_back(), t.outputs = {1}; }, "value 'z' is never written");
  change([](TowerSpec& t) { t.nodes[1].attributes[1].name = "axis"; }, "two attributes are named 'axis'");
  change([](TowerSpec& t) { t.nodes[0].attributes[0].value = std::string("\xFF"); }, "text of an attribute");
  std::vector<build::Section> sections = build::sections_of(build::sample());
  const std::string bytes(sections[2].bytes.begin(), sections[2].bytes.end());
  sections[2].bytes[bytes.find("eps") + 3] = 4;
  check_refused(build::assemble(sections), "attribute 'eps' has the unknown kind 4");
  sections[2].bytes[bytes.find("eps") + 3] = 1;
  build::set<uint32_t>(sections[2].bytes, bytes.find("perm") + 5, 0x10000000);
  check_refused(build::assemble(sections), "268435456 numbers do not fit into the 16 bytes left");
  sections[2].bytes.assign(bytes.begin(), bytes.end());
  sections[2].bytes.push_back(0);
  check_refused(build::assemble(sections), "section TOWR: 1 bytes behind the last entry");
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

/// A folder that goes with the test.
struct Folder {
  std::filesystem::path path;
  Folder() {
    char name[] = "/tmp/pocketuni_format_XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const char* name, const Bytes& bytes) const {
    std::ofstream file(path / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return (path / name).string();
  }
};

void test_files() {
  const Folder folder;
  const Bytes whole = build::assemble(build::sample());
  const std::string good = folder.write("good.puni", whole);
  const auto model = ModelFile::open(good);
  CHECK(model->path() == good && model->verify_weights().empty() && model->tensors().size() == 5);
  const auto again = ModelFile::open(good);
  std::filesystem::remove(good);
  CHECK(again->verify_weights().empty(), "a file stays mapped when it is deleted");

  const auto refused = [](const std::string& path, Status status, const std::string& fault) {
    const Outcome outcome = outcome_of([&] { ModelFile::open(path); });
    CHECK(outcome.status == status && outcome.text == path + ": " + fault, "'%s'", outcome.text.c_str());
  };
  refused(good, Status::kIo, "No such file or directory");
  refused(folder.path.string(), Status::kIo, "Is a directory");
  refused(folder.write("empty.puni", {}), Status::kFormat, "the file is empty");
  refused("/dev/null", Status::kIo, "not a regular file");
  const std::string pipe = folder.path / "pipe.puni";
  CHECK(mkfifo(pipe.c_str(), 0600) == 0);
  refused(pipe, Status::kIo, "not a regular file");
  const std::string cut = folder.write("cut.puni", Bytes(whole.begin(), whole.begin() + 1000));
  refused(cut, Status::kFormat,
          "the header says " + std::to_string(whole.size()) + " bytes, the file has 1000: it is cut off");
  if (geteuid() != 0) {
    const std::string secret = folder.write("secret.puni", whole);
    chmod(secret.c_str(), 0);
    refused(secret, Status::kIo, "Permission denied");
  }
}

/// 25 MB of weights, 100 tensors: what opening costs is the metadata.
void test_open_is_fast() {
  FileParts parts = build::sample();
  constexpr uint32_t kFloats = 64 * 1024;
  parts.data.resize(512 + 100 * 4 * uint64_t{kFloats});
  for (uint32_t i = 0; i < 100; ++i) {
    parts.tensors.push_back({"t" + std::to_string(i), 0, {kFloats}, 512 + i * 4 * uint64_t{kFloats}, 4 * kFloats});
  }
  const Folder folder;
  const std::string path = folder.write("large.puni", build::assemble(parts));
  double best = 1;
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    ModelFile::open(path);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::printf("opening %.1f MB takes %.3f ms\n", 1e-6 * static_cast<double>(parts.data.size()), 1e3 * best);
  CHECK(best < 0.002, "%.3f ms", 1e3 * best);
}

/// Files written by the Python tools (tests/golden), when they are there.
void test_golden_files() {
  if (!std::filesystem::is_directory("tests/golden")) return;
  for (const auto& item : std::filesystem::directory_iterator("tests/golden")) {
    if (item.path().extension() != ".puni") continue;
    const Outcome outcome = outcome_of([&] {
      const auto faults = ModelFile::open(item.path().string())->verify_weights();
      CHECK(faults.empty(), "%s", faults.empty() ? "" : faults[0].c_str());
    });
    CHECK(outcome.status == Status::kOk, "%s", outcome.text.c_str());
  }
}

}  // namespace

int main() {
  test_sample_is_read();
  test_truncation();
  test_short_sections();
  test_flipped_bytes();
  test_hostile_numbers();
  test_header_faults();
  test_section_faults();
  test_meta_and_blob_faults();
  test_tensor_faults();
  test_encoded_sizes();
  test_tower_faults();
  test_verify_weights();
  test_files();
  test_open_is_fast();
  test_golden_files();
  return check::summary();
}
