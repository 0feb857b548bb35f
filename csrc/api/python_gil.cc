#include "api/python_gil.h"

#include <atomic>
#include <chrono>
#include <thread>

namespace py = pybind11;

namespace pocketuni {
namespace {

std::atomic<bool> ending{false};
std::atomic<int> returning{0};           // threads that ask for the GIL
std::atomic<std::thread::id> ending_in;  // the thread that ends the interpreter, which goes on

[[noreturn]] void sleep_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Runs before the interpreter refuses the GIL. Whoever asks for it already gets it; whoever comes later sleeps.
void begin_the_end() {
  ending_in = std::this_thread::get_id();
  ending = true;
  PyThreadState* state = PyEval_SaveThread();
  for (int waited_ms = 0; returning > 0 && waited_ms < 1000; ++waited_ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  PyEval_RestoreThread(state);
}

}  // namespace

GilReleased::~GilReleased() {
  ++returning;  // before the look: then begin_the_end sees this thread, or this thread sees the end
  if (ending && ending_in.load() != std::this_thread::get_id()) {
    --returning;
    sleep_for_ever();
  }
  PyEval_RestoreThread(state_);
  --returning;
}

void watch_the_end() {
  ending = false;  // of an interpreter that was before this one
  py::module_::import("atexit").attr("register")(py::cpp_function(&begin_the_end));
}

}  // namespace pocketuni
