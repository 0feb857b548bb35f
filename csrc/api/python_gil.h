// Giving up the GIL while something is computed, in an interpreter that may end meanwhile.
#pragma once
#include <pybind11/pybind11.h>

namespace pocketuni {

/// Gives up the GIL while it lives. pybind11's own guard asks for it again in an interpreter that ends, too: Python
/// then ends the thread by unwinding it, through frames that must not be unwound, and the process aborts. Here such a
/// thread (only daemons are left by then) sleeps until the process is gone, as threads of Python 3.14 do.
class GilReleased {
 public:
  GilReleased() : state_(PyEval_SaveThread()) {}
  ~GilReleased();
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* state_;
};

/// Has the interpreter tell GilReleased when it ends. Once, when the module is made.
void watch_the_end();

}  // namespace pocketuni
