// Mel frames while samples come: those of the operator over the whole, bit for bit, for any pieces and threads.
#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "ops/op.h"
#include "speech/mel_frames.h"
#include "speech/voice_sounds.h"

using namespace pocketuni;

namespace {

/// The operator over all samples at once, with samples mirrored at both ends.
std::vector<float> whole(std::vector<float>* samples) {
  NodeSpec node;
  node.op = "mel_spectrogram";
  node.outputs = {1};
  node.attributes = {
      {"n_fft", int64_t{1024}}, {"hop", int64_t{256}}, {"mels", int64_t{80}}, {"rate", 22050.0}, {"high", 8000.0}};
  const auto count = static_cast<int64_t>(samples->size());
  const std::vector<InputInfo> infos = {{true, {DType::kF32, {1, count}}, nullptr}};
  const std::unique_ptr<Op> op = make_op(node, infos);
  ThreadPool pool(1);
  AlignedBuffer scratch;
  scratch.reserve(op->scratch_bytes(infos, 1));
  std::vector<float> mel(static_cast<size_t>(count / 256 * 80));
  RunContext context{};
  context.kernels = choose_kernels(nullptr);
  context.pool = &pool;
  context.inputs = {{infos[0].type, samples->data()}};
  context.outputs = {{{DType::kF32, {1, count / 256, 80}}, mel.data()}};
  context.scratch = scratch.data();
  op->run(context);
  return mel;
}

void test_pieces_give_the_whole() {
  std::vector<float> x = sounds::noise(22050, 1, 0.1f);
  const std::vector<float> want = whole(&x);
  std::mt19937 rng(2);
  for (size_t most : {1u, 37u, 256u, 1000u, 30000u}) {
    MelFrames frames({most == 1000 ? 2 : 1, nullptr});
    std::vector<float> mel;
    for (size_t at = 0; at < x.size();) {
      const size_t piece = std::min<size_t>(x.size() - at, most == 1 ? 1 : rng() % most);
      frames.push(x.data() + at, piece, &mel);
      at += piece;
      // A frame is there as soon as its last sample is.
      const size_t rows = at < 640 ? 0 : (at - 640) / 256 + 1;
      if (!CHECK(mel.size() == rows * 80, "%zu samples give %zu rows, want %zu", at, mel.size() / 80, rows)) return;
    }
    CHECK(std::memcmp(mel.data(), want.data(), mel.size() * sizeof(float)) == 0, "pieces of up to %zu", most);
  }
}

}  // namespace

int main() {
  test_pieces_give_the_whole();
  return check::summary();
}
