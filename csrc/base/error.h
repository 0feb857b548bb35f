// Errors: every failure that a caller can see is one exception with a status and a message.
#pragma once
#include <stdexcept>
#include <string>

namespace pocketuni {

enum class Status {
  kOk,
  kInvalidArgument,  ///< a wrong name, shape, dtype, option or index
  kIo,               ///< the operating system refused: missing file, permission, short read
  kFormat,           ///< the file is not a valid model file
  kOutOfMemory,
  kInternal,
};

/// The message says what was expected, what was found and what to do.
class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  Status status() const { return status_; }

 private:
  Status status_;
};

[[noreturn]] inline void fail_argument(const std::string& message) { throw Error(Status::kInvalidArgument, message); }
[[noreturn]] inline void fail_format(const std::string& message) { throw Error(Status::kFormat, message); }

}  // namespace pocketuni
