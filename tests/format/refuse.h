// What the tests of the reader share: opening bytes and judging why they were refused.
#pragma once
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "base/error.h"
#include "check.h"
#include "format/build_file.h"
#include "format/model_file.h"

namespace build {

using pocketuni::Error;
using pocketuni::ModelFile;
using pocketuni::Status;

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
inline Outcome open_bytes(const Bytes& bytes) {
  void* aligned = nullptr;
  if (posix_memalign(&aligned, 64, bytes.size()) != 0) std::abort();
  if (!bytes.empty()) std::memcpy(aligned, bytes.data(), bytes.size());
  const Outcome outcome = outcome_of([&] { ModelFile::from_memory(aligned, bytes.size()); });
  std::free(aligned);
  return outcome;
}

inline void check_refused(const Bytes& bytes, const std::string& fault) {
  const Outcome outcome = open_bytes(bytes);
  CHECK(outcome.status == Status::kFormat, "expected '%s', got status %d '%s'", fault.c_str(),
        static_cast<int>(outcome.status), outcome.text.c_str());
  CHECK(outcome.text.find(fault) != std::string::npos, "expected '%s', got '%s'", fault.c_str(), outcome.text.c_str());
  CHECK(outcome.text.rfind("<memory>: ", 0) == 0, "the file is not named: '%s'", outcome.text.c_str());
}

/// The sample with one part changed.
inline void refuse(const std::function<void(FileParts&)>& change, const std::string& fault) {
  FileParts parts = sample();
  change(parts);
  check_refused(assemble(parts), fault);
}

/// The sample's bytes changed, with right hashes around them.
inline void refuse_bytes(const std::function<void(Bytes&)>& change, const std::string& fault) {
  Bytes bytes = assemble(sample());
  change(bytes);
  reseal(bytes);
  check_refused(bytes, fault);
}

inline size_t entry(int section) { return 64 + 64 * static_cast<size_t>(section); }  // META TENS TOWR BLOB DATA

}  // namespace build
