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

}  // namespace

/// Puts `size_` bytes of a file into memory, at base_.
void ModelFile::map(int file, Loading loading) {
  const bool read = loading == Loading::kRead;
  const size_t size = static_cast<size_t>(size_), spare = read ? kLargePage : 0;
  if (size > SIZE_MAX - spare) fail_io(path_, std::strerror(EFBIG));
  void* map = read ? ::mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                   : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  if (map == MAP_FAILED) fail_io(path_, std::strerror(errno));
  map_ = map;
  map_size_ = size + spare;
  uint8_t* base = static_cast<uint8_t*>(map);
  base_ = base;
  if (!read) return;
  base += (kLargePage - reinterpret_cast<uintptr_t>(base) % kLargePage) % kLargePage;
  base_ = base;
#if defined(MADV_HUGEPAGE)
  ::madvise(base, size, MADV_HUGEPAGE);  // where it is refused, pages stay small
#endif
  for (size_t done = 0; done < size;) {
    const ssize_t got = ::pread(file, base + done, size - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail_io(path_, got < 0 ? std::strerror(errno) : "the file became shorter while it was read");
    done += static_cast<size_t>(got);
  }
  ::mprotect(map, map_size_, PROT_READ);
}

std::shared_ptr<const ModelFile> ModelFile::open(const std::string& path, Loading loading) {
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
  if (model->size_ > 0) model->map(file.number, loading);
  if (loading == Loading::kMap) model->mapped_file_ = file.release();
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
  if (map_) ::munmap(map_, map_size_);
  if (mapped_file_ >= 0) ::close(mapped_file_);
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
