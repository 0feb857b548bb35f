#include "api/c_errors.h"

#include <cstdio>
#include <string>

namespace pocketuni {
namespace {

// A fixed array, so that reporting "out of memory" needs none.
thread_local char message_of_thread[1024] = "";

}  // namespace

const char* last_error() noexcept { return message_of_thread; }

pu_status report(pu_status status, const char* message) noexcept {
  std::snprintf(message_of_thread, sizeof message_of_thread, "%s", message);
  return status;
}

pu_status status_of(Status status) noexcept {
  switch (status) {
    case Status::kOk:
      return PU_OK;
    case Status::kInvalidArgument:
      return PU_INVALID_ARGUMENT;
    case Status::kIo:
      return PU_IO;
    case Status::kFormat:
      return PU_FORMAT;
    case Status::kOutOfMemory:
      return PU_OUT_OF_MEMORY;
    case Status::kInternal:
      return PU_INTERNAL;
  }
  return PU_INTERNAL;
}

void require(const void* argument, const char* function, const char* name) {
  if (argument == nullptr) fail_argument(std::string(function) + ": " + name + " is NULL");
}

}  // namespace pocketuni
