// A test harness in one header: CHECK(condition) or CHECK(condition, format, ...) counts, check::summary() ends main.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace check {

/// POCKETUNI_SLOW_CPU=1 says that code runs many times slower than on this CPU (emulation, sanitizers): tests whose
/// time is in repetition then repeat less.
inline bool slow_cpu() {
  const char* value = std::getenv("POCKETUNI_SLOW_CPU");
  return value != nullptr && *value == '1';
}

struct Counts {
  long passed = 0, failed = 0;
};

inline Counts& counts() {
  static Counts instance;
  return instance;
}

#if defined(__GNUC__)
__attribute__((format(printf, 5, 6)))
#endif
inline bool report(bool ok, const char* file, int line, const char* condition, const char* format, ...) {
  if (ok) {
    ++counts().passed;
    return true;
  }
  if (++counts().failed <= 40) {  // what is broken for every byte of a file need not be said for each
    std::fprintf(stderr, "%s:%d: %s:", file, line, condition);
    va_list args;
    va_start(args, format);
    std::vfprintf(stderr, format, args);
    va_end(args);
    std::fputc('\n', stderr);
  }
  return ok;
}

/// Prints the totals; what main returns. A test that checked nothing has failed.
inline int summary() {
  std::printf("%ld passed, %ld failed\n", counts().passed, counts().failed);
  return counts().failed == 0 && counts().passed > 0 ? 0 : 1;
}

}  // namespace check

/// The message, when there is one, starts with a literal and says which case it was. Yields whether it held.
#define CHECK(condition, ...) check::report((condition), __FILE__, __LINE__, #condition, " " __VA_ARGS__)
