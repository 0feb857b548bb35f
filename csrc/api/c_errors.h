// What the files of the C interface share: the handles of models and voices, and exceptions that become statuses.
#pragma once
#include <exception>
#include <memory>
#include <new>
#include <vector>

#include "api/pocketuni.h"
#include "base/error.h"
#include "graph/session.h"
#include "lm/voice_state.h"
#include "speech/voice.h"

struct pu_model {
  std::shared_ptr<const pocketuni::Model> model;
};

struct pu_voice {
  pocketuni::Voice voice;                                        // its name alone, where there is a state
  std::vector<unsigned char> bytes;                              // of pu_voice_bytes
  std::shared_ptr<const pocketuni::VoiceState> state = nullptr;  // of a Pocket TTS model
};

namespace pocketuni {

/// The message of this thread's last failure.
const char* last_error() noexcept;
/// Remembers the message and gives the status back.
pu_status report(pu_status status, const char* message) noexcept;
pu_status status_of(Status status) noexcept;
/// Throws Error(kInvalidArgument) naming both when the argument is null.
void require(const void* argument, const char* function, const char* name);

/// Runs `body` and turns whatever it throws into a status.
template <typename Body>
pu_status guarded(Body body) noexcept {
  try {
    body();
    return PU_OK;
  } catch (const Error& error) {
    return report(status_of(error.status()), error.what());
  } catch (const std::bad_alloc&) {
    return report(PU_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return report(PU_INTERNAL, error.what());
  } catch (...) {
    return report(PU_INTERNAL, "an unknown exception");
  }
}

}  // namespace pocketuni
