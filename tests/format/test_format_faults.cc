// One fault at a time in a file that is otherwise right: each is refused with its place and what is wrong.
#include <functional>
#include <string>
#include <vector>

#include "format/refuse.h"

using namespace pocketuni;
using build::Bytes;
using build::check_refused;
using build::entry;
using build::FileParts;
using build::open_bytes;
using build::refuse;
using build::refuse_bytes;

namespace {

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

}  // namespace

int main() {
  test_header_faults();
  test_section_faults();
  test_meta_and_blob_faults();
  test_tensor_faults();
  test_tower_faults();
  return check::summary();
}
