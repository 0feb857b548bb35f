#include "format/model_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "base/error.h"
#include "format/model_parser.h"

namespace pocketuni {
namespace {

constexpr uintptr_t kAlignment = 64;
constexpr size_t kLargePage = 2 << 20;  // of x86-64 and of ARM64 with small pages of 4 kB

[[noreturn]] void fail_io(const std::string& path, const std::string& fault) {
  throw Error(Status::kIo, path + ": " + fault);
}

struct FileDescriptor {
  int number;
  int release() { return std::exchange(number, -1); }
  ~FileDescriptor() {
    if (number >= 0) ::close(number);
  }
};

/// Puts the file's name before the fault.
void parse_named(const std::string& path, ModelParser&& parser) {
  try {
    parser.parse();
  } catch (const Error& error) {
    throw Error(error.status(), path + ": " + error.what());
  } catch (const std::bad_alloc&) {
    throw Error(Status::kOutOfMemory, path + ": not enough memory to open the file");
  }
}

#if defined(MADV_HUGEPAGE)
/// Puts what a file holds from `offset` on over the map at `begin .. end`, in pages of its own. The map stays as it was
/// where this fails.
void read_over(uintptr_t begin, uintptr_t end, int file, uint64_t offset, const std::string& path) {
  if (begin >= end) return;
  const size_t size = end - begin;
  void* map = ::mmap(nullptr, size + kLargePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) fail_io(path, std::strerror(errno));
  const uintptr_t start = reinterpret_cast<uintptr_t>(map);
  const uintptr_t aligned = (start + kLargePage - 1) / kLargePage * kLargePage;
  uint8_t* pages = reinterpret_cast<uint8_t*>(aligned);
  ::madvise(pages, size, MADV_HUGEPAGE);  // where it is refused, pages stay small
  const char* fault = nullptr;
  for (size_t done = 0; fault == nullptr && done < size;) {
    const ssize_t got = ::pread(file, pages + done, size - done, static_cast<off_t>(offset + done));
    if (got > 0) done += static_cast<size_t>(got);
    if (got == 0) fault = "the file became shorter while it was read";
    if (got < 0 && errno != EINTR) fault = std::strerror(errno);
  }
  if (fault == nullptr) {
    ::mprotect(pages, size, PROT_READ);
    void* target = reinterpret_cast<void*>(begin);
    if (::mremap(pages, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, target) == MAP_FAILED) fault = std::strerror(errno);
  }
  if (fault != nullptr) ::munmap(pages, size);
  if (aligned > start) ::munmap(map, aligned - start);
  if (aligned < start + kLargePage) ::munmap(pages + size, start + kLargePage - aligned);
  if (fault != nullptr) fail_io(path, fault);
}
#endif

}  // namespace

std::shared_ptr<const ModelFile> ModelFile::open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must fail below, not wait for somebody to write.
  FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.number < 0) fail_io(path, std::strerror(errno));
  struct stat status;
  if (::fstat(file.number, &status) != 0) fail_io(path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail_io(path, std::strerror(EISDIR));
  if (!S_ISREG(status.st_mode)) fail_io(path, "not a regular file");

  std::shared_ptr<ModelFile> model(new ModelFile());
  model->path_ = path;
  model->size_ = static_cast<uint64_t>(status.st_size);
  if (model->size_ > SIZE_MAX) fail_io(path, std::strerror(EFBIG));
  if (model->size_ > 0) {
    void* map = ::mmap(nullptr, static_cast<size_t>(model->size_), PROT_READ, MAP_PRIVATE, file.number, 0);
    if (map == MAP_FAILED) fail_io(path, std::strerror(errno));
    model->map_ = map;
    model->base_ = static_cast<const uint8_t*>(map);
  }
  model->mapped_file_ = file.release();
  parse_named(path, ModelParser(*model));
  return model;
}

std::shared_ptr<const ModelFile> ModelFile::from_memory(const void* data, size_t size) {
  std::shared_ptr<ModelFile> model(new ModelFile());
  model->path_ = "<memory>";
  model->size_ = size;
  model->base_ = static_cast<const uint8_t*>(data);
  if (reinterpret_cast<uintptr_t>(data) % kAlignment != 0 && size > 0) {
    model->copy_.reset(new (std::nothrow) unsigned char[size + kAlignment]);
    if (!model->copy_) throw Error(Status::kOutOfMemory, "<memory>: cannot copy " + std::to_string(size) + " bytes");
    unsigned char* aligned = model->copy_.get();
    aligned += (kAlignment - reinterpret_cast<uintptr_t>(aligned) % kAlignment) % kAlignment;
    std::memcpy(aligned, data, size);
    model->base_ = aligned;
  }
  parse_named(model->path_, ModelParser(*model));
  return model;
}

ModelFile::~ModelFile() {
  if (map_) ::munmap(map_, static_cast<size_t>(size_));
  if (mapped_file_ >= 0) ::close(mapped_file_);
}

void ModelFile::read_weights(const std::string& prefix) const {
#if defined(MADV_HUGEPAGE)
  if (mapped_file_ < 0) return;
  std::vector<std::pair<uintptr_t, uintptr_t>> blocks;  // addresses, multiples of a large page
  const uintptr_t base = reinterpret_cast<uintptr_t>(base_);
  for (const TowerSpec& tower : towers_) {
    if (tower.name.compare(0, prefix.size(), prefix) != 0) continue;
    for (const NodeSpec& node : tower.nodes) {
      for (const Operand& operand : node.inputs) {
        if (operand.kind != Operand::kTensor) continue;
        const TensorEntry& tensor = tensors_[operand.index];
        if (tensor.encoding == Encoding::kRowsI8 || tensor.encoding == Encoding::kRowsI4) continue;
        const uintptr_t begin = reinterpret_cast<uintptr_t>(tensor.data), end = begin + tensor.size;
        blocks.emplace_back(begin / kLargePage * kLargePage, (end + kLargePage - 1) / kLargePage * kLargePage);
      }
    }
  }
  std::sort(blocks.begin(), blocks.end());
  for (size_t i = 0; i < blocks.size();) {
    const uintptr_t begin = blocks[i].first;
    uintptr_t end = blocks[i].second;
    while (++i < blocks.size() && blocks[i].first <= end) end = std::max(end, blocks[i].second);
    // What the first and the last large page share with others stays mapped.
    const uintptr_t from = begin < base ? begin + kLargePage : begin;
    read_over(from, end > base + size_ ? end - kLargePage : end, mapped_file_, from - base, path_);
  }
#else
  (void)prefix;
#endif
}

void ModelFile::require_whole() const {
  struct stat status;
  if (mapped_file_ < 0 || ::fstat(mapped_file_, &status) != 0) return;
  if (static_cast<uint64_t>(status.st_size) >= size_) return;
  fail_io(path_, "the file was cut from " + std::to_string(size_) + " to " + std::to_string(status.st_size) +
                     " bytes while it was open; write models under another name and rename them");
}

std::vector<std::string> ModelFile::verify_weights() const {
  require_whole();
  std::vector<std::string> faults;
  if (blake2b(base_ + data_offset_, data_size_) != data_hash_) {
    faults.push_back(path_ + ": section DATA: the hash does not match, the file is damaged");
  }
  for (const TensorEntry& tensor : tensors_) {
    const std::string name = path_ + ": tensor " + quoted(tensor.name);
    if (blake2b(tensor.data, tensor.size) != tensor.hash) faults.push_back(name + ": the hash does not match");
    const auto is_bool = [](uint8_t byte) { return byte <= 1; };
    if (tensor.encoding == Encoding::kBool && !std::all_of(tensor.data, tensor.data + tensor.size, is_bool)) {
      faults.push_back(name + ": a bool is neither 0 nor 1");
    }
  }
  return faults;
}

}  // namespace pocketuni
