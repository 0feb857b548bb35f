// Memory that runs out: each allocation of opening, running, speaking, listening and saving fails once. The call then
// says so, whatever was made can be freed or used on, and nothing leaks.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "api/count_memory.h"
#include "api/pocketuni.h"
#include "check.h"
#include "speech/voice_sounds.h"

namespace {

const char kModel[] = "tests/speech/speaking.puni";
const char kText[] = "Dr. Smith read 3 books. <break time=\"50ms\"/> Hello, wurld!";

/// Every status since the scenario began: those that were no success, and whether one of them was another than
/// PU_OUT_OF_MEMORY.
struct Outcome {
  int failures = 0;
  std::string strange;

  bool ok(pu_status status) {
    if (status == PU_OK) return true;
    ++failures;
    if (status != PU_OUT_OF_MEMORY) strange += std::to_string(status) + ": " + pu_last_error() + "; ";
    return false;
  }
};

using Scenario = std::function<void(Outcome*)>;

/// Runs the scenario with its first allocation failing, then its second, and so on until none is left.
void exhaust(const char* name, const Scenario& scenario, long step = 1) {
  Outcome whole;
  scenario(&whole);  // what is made once for the process is made here
  if (!CHECK(whole.failures == 0, "%s: %s", name, pu_last_error())) return;
  const long before = memory::live;
  long n = 1, silent = 0;
  for (;; n += step) {
    Outcome outcome;
    memory::failed = false;
    memory::fail_at(n);
    scenario(&outcome);
    memory::fail_at(0);
    if (!memory::failed) break;
    silent += outcome.failures == 0 ? 1 : 0;
    CHECK(outcome.strange.empty(), "%s, allocation %ld: %s", name, n, outcome.strange.c_str());
    CHECK(memory::live == before, "%s, allocation %ld: %ld blocks leaked", name, n, memory::live - before);
  }
  CHECK(n > 1 && silent == 0, "%s: %ld of %ld failures were not told", name, silent, n - 1);
  std::printf("%s: %ld allocations\n", name, n - 1);
}

void open_and_close(Outcome* outcome) {
  pu_model* model = nullptr;
  if (outcome->ok(pu_model_open(kModel, &model))) pu_model_close(model);
}

void run_tower(const pu_model* model, Outcome* outcome) {
  static std::vector<float> mel(3 * 80, -4.0f);
  pu_tensor tensor = {};
  tensor.rank = 3, tensor.shape[0] = 1, tensor.shape[1] = 3, tensor.shape[2] = 80, tensor.data = mel.data();
  pu_session* session = nullptr;
  if (!outcome->ok(pu_session_create(model, "voice.speaker", 2, nullptr, &session))) return;
  outcome->ok(pu_session_set_input(session, "mel", &tensor)) && outcome->ok(pu_session_run(session));
  memory::fail_at(0);  // after a failure the session is as usable as before
  CHECK(pu_session_set_input(session, "mel", &tensor) == PU_OK && pu_session_run(session) == PU_OK);
  pu_session_free(session);
}

void speak(const pu_model* model, Outcome* outcome) {
  pu_speech_options options;
  pu_speech_defaults(&options);
  options.voice = "bert";
  pu_speech* speech = nullptr;
  if (!outcome->ok(pu_speech_start(model, &options, &speech))) return;
  outcome->ok(pu_speech_push_text(speech, kText, sizeof kText - 1));
  outcome->ok(pu_speech_finish_text(speech));
  const float* samples = nullptr;
  size_t count = 0;
  for (int tries = 0; tries < 100; ++tries) {
    if (outcome->ok(pu_speech_next(speech, &samples, &count)) && count == 0) break;
    CHECK(std::all_of(samples, samples + count, [](float sample) { return std::fabs(sample) <= 1; }));
  }
  pu_speech_free(speech);
}

void listen(const pu_model* model, Outcome* outcome) {
  static const std::vector<float> sound = sounds::voice(8000, 1.2, 140, 700, 0.3f);
  pu_voice_builder* builder = nullptr;
  if (!outcome->ok(pu_voice_builder_create(model, 8000, 1, nullptr, &builder))) return;
  pu_voice* voice = nullptr;
  const char* advice = nullptr;
  outcome->ok(pu_voice_builder_feed(builder, sound.data(), sound.size()));
  outcome->ok(pu_voice_builder_advice(builder, &advice));
  if (outcome->failures == 0 && outcome->ok(pu_voice_builder_voice(builder, &voice))) pu_voice_free(voice);
  pu_voice_builder_free(builder);
}

void keep_voices(const pu_model* model, const std::string& path, Outcome* outcome) {
  pu_voice* voices[3] = {};
  double weights[2] = {1, 2}, similarity = 0;
  const void* data = nullptr;
  size_t size = 0;
  if (outcome->ok(pu_voice_named(model, "ada", &voices[0])) && outcome->ok(pu_voice_named(model, "bert", &voices[1])) &&
      outcome->ok(pu_voice_mix(voices, weights, 2, &voices[2])) &&
      outcome->ok(pu_voice_set_name(voices[2], "a name that is longer than what fits into a string itself")) &&
      outcome->ok(pu_voice_similarity(voices[0], voices[2], &similarity)) &&
      outcome->ok(pu_voice_bytes(voices[2], &data, &size)) && outcome->ok(pu_voice_save(voices[2], path.c_str()))) {
    pu_voice* again = nullptr;
    if (outcome->ok(pu_voice_load(path.c_str(), &again))) pu_voice_free(again);
  }
  for (pu_voice* voice : voices) pu_voice_free(voice);
}

/// A failure in the middle of speech costs at most the sentence: what is said next is what is always said, behind that
/// sentence or without it.
void test_speech_goes_on_behind_a_failure(const pu_model* model) {
  const auto said = [&](std::vector<const char*> texts, long failing) {
    std::vector<float> all;
    pu_speech* speech = nullptr;
    CHECK(pu_speech_start(model, nullptr, &speech) == PU_OK);
    for (size_t i = 0; i < texts.size(); ++i) {
      CHECK(pu_speech_push_text(speech, texts[i], std::strlen(texts[i])) == PU_OK);
      CHECK(pu_speech_finish_text(speech) == PU_OK);
      all.clear();
      const float* samples = nullptr;
      size_t count = 1;
      memory::fail_at(i == 1 ? failing : 0);
      while (pu_speech_next(speech, &samples, &count) != PU_OK || count > 0) {
        all.insert(all.end(), samples, samples + count);
      }
    }
    pu_speech_free(speech);
    return all;
  };
  const std::vector<float> behind = said({"Yes.", "One two.", "Hello world."}, 0),
                           without = said({"Yes.", "Hello world."}, 0);
  for (long n : {1L, 20L, 100L, 300L, 450L, 700L}) {
    const std::vector<float> got = said({"Yes.", "One two.", "Hello world."}, n);
    CHECK(got == behind || got == without, "after failure %ld", n);
  }
}

}  // namespace

int main() {
  const long step = check::slow_cpu() ? 7 : 1;
  exhaust("open", open_and_close);
  pu_model* model = nullptr;
  if (!CHECK(pu_model_open(kModel, &model) == PU_OK, "%s", pu_last_error())) return check::summary();
  exhaust("run", [&](Outcome* outcome) { run_tower(model, outcome); });
  exhaust("speak", [&](Outcome* outcome) { speak(model, outcome); }, step);
  exhaust("listen", [&](Outcome* outcome) { listen(model, outcome); }, step);
  char folder[] = "/tmp/pocketuni-memory-XXXXXX";
  if (CHECK(mkdtemp(folder) != nullptr)) {
    const std::string path = std::string(folder) + "/mixed.voice";
    exhaust("voices", [&](Outcome* outcome) { keep_voices(model, path, outcome); });
    ::unlink(path.c_str());
    CHECK(::rmdir(folder) == 0, "temporary files were left");
  }
  test_speech_goes_on_behind_a_failure(model);
  pu_model_close(model);
  return check::summary();
}
