#include "speech/voice_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "speech/voices.h"

namespace pocketuni {
namespace {

constexpr unsigned char kMagic[8] = {0x89, 'P', 'U', 'V', 0x0d, 0x0a, 0x1a, 0x0a};
constexpr uint16_t kMajor = 1, kMinor = 0;
constexpr uint32_t kClone = 1;  // flags, bit 0
constexpr size_t kHeaderBytes = 56, kHashBytes = 16, kVectorBytes = kSpeakerWidth * sizeof(float);
constexpr size_t kLeastBytes = kHeaderBytes + kVectorBytes + kHashBytes, kMostBytes = 2047;

template <typename T>
void put(std::vector<unsigned char>* out, T value) {
  unsigned char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof value);  // the machines that this runs on are little-endian
  out->insert(out->end(), bytes, bytes + sizeof value);
}

template <typename T>
T get(const unsigned char* data, size_t at) {
  T value;
  std::memcpy(&value, data + at, sizeof value);
  return value;
}

[[noreturn]] void fail_io(const std::string& path, const char* fault) { throw Error(Status::kIo, path + ": " + fault); }

/// A file that is open, and deleted unless it was put in its place.
struct TemporaryFile {
  std::string path;
  int number = -1;
  ~TemporaryFile() {
    if (number >= 0) ::close(number);
    if (!path.empty()) ::unlink(path.c_str());
  }
};

/// Beside the file, so that it can be renamed to it.
void open_beside(const std::string& path, TemporaryFile* file) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string name = path + "." + std::to_string(::getpid()) + "." + std::to_string(attempt) + ".tmp";
    file->number = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file->number >= 0) {
      file->path = std::move(name);
      return;
    }
    if (errno != EEXIST) break;
  }
  fail_io(path, std::strerror(errno));
}

bool in_range(float value, float least, float most) { return value >= least && value <= most; }  // false for NaN

}  // namespace

std::vector<unsigned char> encode_voice(const Voice& voice) {
  checked_voice_name(voice.name);
  std::vector<unsigned char> out(kMagic, kMagic + sizeof kMagic);
  put(&out, kMajor);
  put(&out, kMinor);
  put(&out, static_cast<uint32_t>(kLeastBytes + voice.name.size()));
  out.insert(out.end(), voice.space.begin(), voice.space.end());
  put(&out, voice.clone ? kClone : uint32_t{0});
  put(&out, static_cast<float>(voice.seconds));
  put(&out, static_cast<float>(voice.confidence));
  put(&out, static_cast<float>(voice.log_f0));
  put(&out, static_cast<uint32_t>(kSpeakerWidth));
  put(&out, static_cast<uint32_t>(voice.name.size()));
  for (float value : voice.vector) put(&out, value);
  out.insert(out.end(), voice.name.begin(), voice.name.end());
  const Digest hash = blake2b(out.data(), out.size());
  out.insert(out.end(), hash.begin(), hash.end());
  return out;
}

Voice decode_voice(const unsigned char* data, size_t size, const std::string& where) {
  const auto fail = [&](const std::string& fault) { fail_format(where + ": " + fault); };
  if (size < sizeof kMagic || std::memcmp(data, kMagic, sizeof kMagic) != 0) {
    fail("not a .voice file (it does not begin like one)");
  }
  if (size < kLeastBytes) fail("the voice file is truncated: " + std::to_string(size) + " bytes");
  const auto major = get<uint16_t>(data, 8), minor = get<uint16_t>(data, 10);
  if (major != kMajor) {
    fail("the voice file has version " + std::to_string(major) + ", this library reads version 1; update pocketuni");
  }
  const auto stated = get<uint32_t>(data, 12);
  if (stated > size) {
    fail("the voice file is truncated: " + std::to_string(size) + " bytes of " + std::to_string(stated));
  }
  if (stated != size || size > kMostBytes) {
    fail("the voice file has " + std::to_string(size) + " bytes, but says " + std::to_string(stated));
  }
  const Digest hash = blake2b(data, size - kHashBytes);
  if (std::memcmp(hash.data(), data + size - kHashBytes, kHashBytes) != 0) {
    fail("the voice file is damaged: its hash does not match");
  }
  const auto floats = get<uint32_t>(data, 48), name_bytes = get<uint32_t>(data, 52);
  const size_t needed = kLeastBytes + name_bytes;
  if (floats != kSpeakerWidth || name_bytes > kMaxVoiceName || needed > size || (minor == 0 && needed != size)) {
    fail("the voice file's sizes do not fit together");
  }
  Voice voice;
  std::copy(data + 16, data + 32, voice.space.begin());
  voice.clone = (get<uint32_t>(data, 32) & kClone) != 0;
  const auto seconds = get<float>(data, 36), confidence = get<float>(data, 40), log_f0 = get<float>(data, 44);
  if (!in_range(seconds, 0, 1e9f) || !in_range(confidence, 0, 1) || !in_range(log_f0, 0, 10)) {
    fail("the voice file holds numbers out of range");
  }
  voice.seconds = static_cast<double>(seconds);
  voice.confidence = static_cast<double>(confidence);
  voice.log_f0 = static_cast<double>(log_f0);
  std::vector<float> vector(kSpeakerWidth);
  std::memcpy(vector.data(), data + kHeaderBytes, kVectorBytes);
  double power = 0;
  for (float value : vector) power += static_cast<double>(value) * static_cast<double>(value);
  if (!(std::fabs(power - 1) < 1e-3)) fail("the voice file's vector has no unit length");
  voice.vector = std::move(vector);
  const char* name = reinterpret_cast<const char*>(data) + kHeaderBytes + kVectorBytes;
  voice.name.assign(name, name_bytes);
  if (voice.name.find('\0') != std::string::npos) fail("the voice file's name holds a NUL");
  return voice;
}

void save_voice(const Voice& voice, const std::string& path) { write_voice_file(encode_voice(voice), path); }

void write_voice_file(const std::vector<unsigned char>& bytes, const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) fail_io(path, std::strerror(EISDIR));
  TemporaryFile file;
  open_beside(path, &file);
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t wrote = ::write(file.number, bytes.data() + at, bytes.size() - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) fail_io(path, std::strerror(wrote < 0 ? errno : ENOSPC));
    at += static_cast<size_t>(wrote);
  }
  if (::fsync(file.number) != 0 && errno != EINVAL) fail_io(path, std::strerror(errno));
  if (std::rename(file.path.c_str(), path.c_str()) != 0) fail_io(path, std::strerror(errno));
  file.path.clear();
}

Voice load_voice(const std::string& path) {
  const std::vector<unsigned char> data = read_voice_file(path, kMostBytes + 1);
  return decode_voice(data.data(), data.size(), path);
}

std::vector<unsigned char> read_voice_file(const std::string& path, size_t most) {
  // O_NONBLOCK: opening a pipe must fail below, not wait for somebody to write.
  const int number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (number < 0) fail_io(path, std::strerror(errno));
  struct stat status;
  std::vector<unsigned char> data;
  size_t size = 0;
  const char* fault = nullptr;
  if (::fstat(number, &status) != 0) {
    fault = std::strerror(errno);
  } else if (S_ISDIR(status.st_mode)) {
    fault = std::strerror(EISDIR);
  } else if (!S_ISREG(status.st_mode)) {
    fault = "not a regular file";
  } else {
    data.resize(std::min(most, static_cast<size_t>(status.st_size)));
  }
  while (fault == nullptr && size < data.size()) {
    const ssize_t got = ::read(number, data.data() + size, data.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fault = std::strerror(errno);
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  ::close(number);
  if (fault != nullptr) fail_io(path, fault);
  data.resize(size);
  return data;
}

}  // namespace pocketuni
