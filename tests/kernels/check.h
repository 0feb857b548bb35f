// A test harness in one header: CHECK(condition, format, ...) counts, and check_summary() ends main.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace check {

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
  if (++counts().failed <= 40) {  // a broken kernel fails everywhere
    std::fprintf(stderr, "%s:%d: %s: ", file, line, condition);
    va_list args;
    va_start(args, format);
    std::vfprintf(stderr, format, args);
    va_end(args);
    std::fputc('\n', stderr);
  }
  return false;
}

/// Prints the totals; what main returns.
inline int summary() {
  std::printf("%ld passed, %ld failed\n", counts().passed, counts().failed);
  return counts().failed == 0 && counts().passed > 0 ? 0 : 1;
}

}  // namespace check

/// The message says which case it was: CHECK(a == b, "%s rows %d", isa, rows). Yields whether it held.
#define CHECK(condition, ...) check::report((condition), __FILE__, __LINE__, #condition, __VA_ARGS__)
