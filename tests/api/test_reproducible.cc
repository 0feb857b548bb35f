// The same text, voice and seed are the same samples: for any number of threads, size of chunks, pieces of text and
// run; and products of integers are the same bits on every instruction set. (Floats may round elsewhere on another one:
// they are held to the tolerances of the kernels' tests.)
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "api/pocketuni.h"
#include "check.h"
#include "kernels/kernels.h"

namespace {

const char kText[] =
    "Dr. Smith paid $3.50 for 2 books, a cat and 10 km of wire. \"Is it so?\" <break time=\"120ms\"/> Yes!\n\nHello "
    "world: this is the end, or is it not the end of what we like to read on a day like this one?";

struct Way {
  int threads;
  size_t chunk_frames, piece;
};

struct Said {
  std::vector<float> samples;
  std::string words;

  bool operator==(const Said& other) const { return samples == other.samples && words == other.words; }
};

Said speak(const pu_model* model, const char* isa, const char* voice, uint32_t seed, const Way& way) {
  pu_speech_options options;
  pu_speech_defaults(&options);
  options.voice = voice, options.seed = seed, options.isa = isa;
  options.threads = way.threads, options.chunk_frames = way.chunk_frames;
  Said said;
  pu_speech* speech = nullptr;
  if (!CHECK(pu_speech_start(model, &options, &speech) == PU_OK, "%s", pu_last_error())) return said;
  const size_t bytes = sizeof kText - 1;
  const auto drain = [&] {
    const float* samples = nullptr;
    size_t count = 1;
    while (count > 0 && CHECK(pu_speech_next(speech, &samples, &count) == PU_OK, "%s", pu_last_error())) {
      said.samples.insert(said.samples.end(), samples, samples + count);
      for (size_t i = 0; i < pu_speech_word_count(speech); ++i) {
        pu_word word;
        CHECK(pu_speech_word(speech, i, &word) == PU_OK);
        said.words += std::string(word.text) + "@" + std::to_string(word.start) + "-" + std::to_string(word.stop) + " ";
      }
    }
  };
  for (size_t at = 0; at < bytes; at += way.piece) {
    CHECK(pu_speech_push_text(speech, kText + at, std::min(way.piece, bytes - at)) == PU_OK);
    drain();
  }
  CHECK(pu_speech_finish_text(speech) == PU_OK);
  drain();
  pu_speech_free(speech);
  return said;
}

void test_speech(const pu_model* model) {
  const std::vector<Way> ways = {{1, 0, 1},    {1, 1, 1000}, {1, 7, 13},      {1, 64, 1000}, {1, 4096, 3},
                                 {2, 0, 1000}, {3, 5, 50},   {7, 4096, 1000}, {16, 33, 8}};
  for (const pocketuni::Kernels* const* table = pocketuni::usable_kernels(); *table != nullptr; ++table) {
    const char* isa = (*table)->isa;
    for (const char* voice : {"ada", "bert"}) {
      const Said want = speak(model, isa, voice, 7, {1, 0, 1000});
      CHECK(want.samples.size() > 22050 && want == speak(model, isa, voice, 7, {1, 0, 1000}), "%s: another run", isa);
      for (const Way& way : ways) {
        if (check::slow_cpu() && way.threads > 3) continue;
        CHECK(speak(model, isa, voice, 7, way) == want, "%s, %s, %d threads, chunks of %zu, pieces of %zu", isa, voice,
              way.threads, way.chunk_frames, way.piece);
      }
      CHECK(speak(model, isa, voice, 8, {1, 0, 1000}).samples != want.samples, "the seed changes nothing");
    }
  }
}

/// Results of the linear layers of tests/golden/encodings.puni for some rows of numbers.
std::vector<float> product(const pu_model* model, const char* isa, int threads, const char* output, int64_t rows) {
  std::vector<float> x(static_cast<size_t>(rows) * 36), residual(static_cast<size_t>(rows) * 17);
  uint32_t random = 5;
  for (std::vector<float>* values : {&x, &residual}) {
    for (float& value : *values) {
      random = random * 1664525 + 1013904223;
      value = static_cast<float>(random >> 8) / 8388608.0f - 1;
    }
  }
  pu_session* session = nullptr;
  if (!CHECK(pu_session_create(model, "matrices", threads, isa, &session) == PU_OK, "%s", pu_last_error())) return {};
  const auto set = [&](const char* name, std::vector<float>* values, int64_t width) {
    pu_tensor tensor = {};
    tensor.rank = 2, tensor.shape[0] = rows, tensor.shape[1] = width, tensor.data = values->data();
    CHECK(pu_session_set_input(session, name, &tensor) == PU_OK, "%s", pu_last_error());
  };
  set("x", &x, 36);
  set("residual", &residual, 17);
  pu_tensor result = {};
  std::vector<float> numbers;
  if (CHECK(pu_session_run(session) == PU_OK && pu_session_get_output(session, output, &result) == PU_OK, "%s",
            pu_last_error())) {
    const auto* data = static_cast<const float*>(result.data);
    numbers.assign(data, data + result.shape[0] * result.shape[1]);
  }
  pu_session_free(session);
  return numbers;
}

void test_integers_on_every_isa() {
  pu_model* model = nullptr;
  if (!CHECK(pu_model_open("tests/golden/encodings.puni", &model) == PU_OK, "%s", pu_last_error())) return;
  for (const char* output : {"y_int8", "y_int4"}) {
    for (int64_t rows : {1, 3, 16, 61, 200}) {
      const std::vector<float> want = product(model, "ref", 1, output, rows);
      for (const pocketuni::Kernels* const* table = pocketuni::usable_kernels(); *table != nullptr; ++table) {
        for (int threads : {1, 3}) {
          const std::vector<float> got = product(model, (*table)->isa, threads, output, rows);
          CHECK(!got.empty() && got == want, "%s, %s, %d rows, %d threads", output, (*table)->isa,
                static_cast<int>(rows), threads);
        }
      }
    }
  }
  pu_model_close(model);
}

}  // namespace

int main() {
  pu_model* model = nullptr;
  if (!CHECK(pu_model_open("tests/speech/speaking.puni", &model) == PU_OK, "%s", pu_last_error())) {
    return check::summary();
  }
  test_speech(model);
  pu_model_close(model);
  test_integers_on_every_isa();
  return check::summary();
}
