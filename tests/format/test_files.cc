#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "format/refuse.h"

using namespace pocketuni;
using build::Bytes;
using build::FileParts;
using build::Outcome;
using build::outcome_of;

namespace {

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

/// The sample with 25 MB more of weights in 100 tensors, behind its own.
FileParts large_parts() {
  FileParts parts = build::sample();
  constexpr uint32_t kFloats = 64 * 1024;
  const uint64_t begin = parts.data.size() / 64 * 64 + 64;
  parts.data.resize(begin + 100 * 4 * uint64_t{kFloats});
  for (uint32_t i = 0; i < 100; ++i) {
    parts.tensors.push_back({"t" + std::to_string(i), 0, {kFloats}, begin + i * 4 * uint64_t{kFloats}, 4 * kFloats});
  }
  return parts;
}

/// What opening costs is the metadata. The bound is for code at its own speed: emulated, it measures the emulation.
void test_open_is_fast() {
  if (check::slow_cpu()) return;
  const FileParts parts = large_parts();
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

/// Weights of the tower `lm.1`, which are tensors 20 to 69 of the large ones.
void test_weights_are_read() {
  FileParts parts = large_parts();
  for (size_t i = 0; i < parts.data.size(); i += 4096) parts.data[i] = static_cast<uint8_t>(i / 4096 % 251);
  const auto own = static_cast<uint32_t>(build::sample().tensors.size());
  parts.towers.push_back(parts.towers[0]);
  parts.towers[1].name = "lm.1";
  for (uint32_t i = 20; i < 70; ++i) parts.towers[1].nodes[0].inputs.push_back({Operand::kTensor, own + i});
  const Folder folder;
  const std::string path = folder.write("large.puni", build::assemble(parts));

  const auto none = ModelFile::open(path), all = ModelFile::open(path), some = ModelFile::open(path);
  none->read_weights("nothing is called so");
  all->read_weights("");
  some->read_weights("lm.");
  for (const auto& model : {none, all, some}) CHECK(model->verify_weights().empty());
  const Bytes bytes = build::assemble(parts);
  ModelFile::from_memory(bytes.data(), bytes.size())->read_weights("lm.");  // nothing to do

  // What was read survives a cut of the file; the rest would not.
  const auto late = ModelFile::open(path);
  std::filesystem::resize_file(path, 1000);
  for (uint32_t i = 30; i < 60; ++i) {
    const TensorEntry& tensor = some->tensors()[own + i];
    CHECK(std::memcmp(tensor.data, parts.data.data() + parts.tensors[own + i].offset, tensor.size) == 0, "%u", i);
  }
  const Outcome outcome = outcome_of([&] { late->read_weights("lm."); });
  CHECK(outcome.status == Status::kIo && outcome.text == path + ": the file became shorter while it was read", "'%s'",
        outcome.text.c_str());
}

}  // namespace

int main() {
  test_files();
  test_open_is_fast();
  test_golden_files();
  test_weights_are_read();
  return check::summary();
}
