// Streams beside each other: sixteen over one model, each with the samples that it has alone; cancelled at any moment a
// thousand times; voices made meanwhile. Built with -DPOCKETUNI_SANITIZE=thread it is the race test, with address the
// leak test.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "api/pocketuni.h"
#include "check.h"
#include "speech/voice_sounds.h"

namespace {

const char kModel[] = "tests/speech/speaking.puni";
constexpr int kStreams = 16;

/// What one stream says, different for each.
struct Job {
  std::string text;
  pu_speech_options options;

  explicit Job(int index) {
    static const char* const kSentences[] = {"Hello world.", "Is this a dog?", "Dr. Smith paid $3.50!", "One, two.",
                                             "The cat wished. "};
    for (int i = 0; i <= index % 4; ++i) text += std::string(kSentences[(index + i) % 5]) + " ";
    pu_speech_defaults(&options);
    options.voice = index % 2 == 0 ? "ada" : "bert";
    options.seed = static_cast<uint32_t>(index);
    options.speed = 0.8 + 0.1 * (index % 5);
    options.pitch = index % 3 - 1;
    options.threads = index % 4 == 3 ? 2 : 1;
    options.chunk_frames = static_cast<size_t>(index % 3 * 5);
  }
};

/// All samples of a job; those up to a failure, which counts as one of the test's.
std::vector<float> speak(const pu_model* model, const Job& job) {
  std::vector<float> all;
  pu_speech* speech = nullptr;
  const float* samples = nullptr;
  size_t count = 1;
  pu_status status = pu_speech_start(model, &job.options, &speech);
  // In pieces, as text arrives.
  for (size_t at = 0; status == PU_OK && at < job.text.size(); at += 7) {
    status = pu_speech_push_text(speech, job.text.data() + at, std::min<size_t>(7, job.text.size() - at));
  }
  if (status == PU_OK) status = pu_speech_finish_text(speech);
  while (status == PU_OK && count > 0) {
    status = pu_speech_next(speech, &samples, &count);
    if (status == PU_OK) all.insert(all.end(), samples, samples + count);
  }
  pu_speech_free(speech);
  if (status != PU_OK) all.assign(1, std::nanf(""));
  return all;
}

void test_sixteen_at_once(pu_model* model) {
  std::vector<std::vector<float>> alone(kStreams), beside(kStreams);
  for (int i = 0; i < kStreams; ++i) alone[static_cast<size_t>(i)] = speak(model, Job(i));
  const int rounds = check::slow_cpu() ? 1 : 5;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kStreams; ++i) {
      threads.emplace_back([&, i] { beside[static_cast<size_t>(i)] = speak(model, Job(i)); });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < kStreams; ++i) {
      CHECK(alone[i].size() > 2000 && beside[i] == alone[i], "stream %zu: %zu and %zu samples", i, beside[i].size(),
            alone[i].size());
    }
  }
  CHECK(alone[0] != alone[2], "the jobs say the same: nothing was compared");
}

/// A voice made beside the streams is the voice made alone.
void test_builders_beside_streams(pu_model* model) {
  const std::vector<float> sound = sounds::voice(16000, 2, 140, 700, 0.3f);
  const auto voice_bytes = [&] {
    std::string bytes;
    pu_voice_builder* builder = nullptr;
    pu_voice* voice = nullptr;
    const void* data = nullptr;
    size_t size = 0;
    const bool made = pu_voice_builder_create(model, 16000, 1, nullptr, &builder) == PU_OK &&
                      pu_voice_builder_feed(builder, sound.data(), sound.size()) == PU_OK &&
                      pu_voice_builder_voice(builder, &voice) == PU_OK && pu_voice_bytes(voice, &data, &size) == PU_OK;
    if (made) bytes.assign(static_cast<const char*>(data), size);
    pu_voice_free(voice);
    pu_voice_builder_free(builder);
    return bytes;
  };
  const std::string want = voice_bytes();
  CHECK(!want.empty(), "%s", pu_last_error());
  std::vector<std::string> got(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < got.size(); ++i) {
    threads.emplace_back([&, i] { got[i] = voice_bytes(); });
    threads.emplace_back([&, i] { speak(model, Job(static_cast<int>(i))); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& bytes : got) CHECK(bytes == want);
}

/// Another thread cancels while this one asks for chunks; the end comes at once, and stays.
void test_cancelling(pu_model* model) {
  const int times = check::slow_cpu() ? 100 : 1000;
  std::mt19937 rng(11);
  const Job job(7);
  std::atomic<pu_speech*> current{nullptr};
  std::atomic<int> cancelled{0};
  std::atomic<int64_t> wait_us{0};
  std::atomic<bool> stop{false};
  std::thread canceller([&] {
    while (!stop) {
      pu_speech* speech = current.load();
      if (speech == nullptr) {
        std::this_thread::yield();
        continue;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(wait_us.load()));
      pu_speech_cancel(speech);
      ++cancelled;
      current = nullptr;
    }
  });
  int ended_early = 0;
  for (int i = 0; i < times; ++i) {
    pu_speech* speech = nullptr;
    if (!CHECK(pu_speech_start(model, &job.options, &speech) == PU_OK, "%s", pu_last_error())) break;
    wait_us = static_cast<int64_t>(rng() % 3000);
    const float* samples = nullptr;
    size_t count = 1, all = 0;
    CHECK(pu_speech_push_text(speech, job.text.data(), job.text.size()) == PU_OK);
    current = speech;
    bool failed = false;
    for (int call = 0; call < 10000 && count > 0 && !failed; ++call) {
      failed = pu_speech_next(speech, &samples, &count) != PU_OK;
      all += count;
    }
    CHECK(!failed && count == 0, "cancelled speech %d does not end", i);
    while (current.load() != nullptr) std::this_thread::yield();
    CHECK(pu_speech_next(speech, &samples, &count) == PU_OK && count == 0, "speech %d goes on when cancelled", i);
    pu_speech_free(speech);
    ended_early += all < 30000 ? 1 : 0;
  }
  stop = true;
  canceller.join();
  CHECK(cancelled == times && ended_early > 0, "%d cancelled, %d early", cancelled.load(), ended_early);
}

/// Speeches keep what they need of the model.
void test_the_model_may_be_closed_first(pu_model* model) {
  const Job job(3);
  const std::vector<float> want = speak(model, job);
  pu_speech* speech = nullptr;
  CHECK(pu_speech_start(model, &job.options, &speech) == PU_OK);
  pu_model_close(model);
  CHECK(pu_speech_push_text(speech, job.text.data(), job.text.size()) == PU_OK);
  CHECK(pu_speech_finish_text(speech) == PU_OK);
  std::vector<float> got;
  const float* samples = nullptr;
  size_t count = 1;
  while (count > 0 && pu_speech_next(speech, &samples, &count) == PU_OK)
    got.insert(got.end(), samples, samples + count);
  CHECK(got == want, "%zu and %zu samples", got.size(), want.size());
  pu_speech_free(speech);
}

}  // namespace

int main() {
  pu_model* model = nullptr;
  if (!CHECK(pu_model_open(kModel, &model) == PU_OK, "%s", pu_last_error())) return check::summary();
  test_sixteen_at_once(model);
  test_builders_beside_streams(model);
  test_cancelling(model);
  test_the_model_may_be_closed_first(model);
  return check::summary();
}
