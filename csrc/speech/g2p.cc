#include "speech/g2p.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace pocketuni {
namespace {

constexpr int kLabels = kUnitCount - kFirstPhone + 1, kSlots = 2;
constexpr size_t kPiece = 40;

SessionOptions one_thread() {
  SessionOptions options;
  options.threads = 1;  // a word is too little work to share
  return options;
}

int64_t letter_id(char c) { return c == '\'' ? 27 : c - 'a' + 1; }

}  // namespace

LetterToSound::LetterToSound(std::shared_ptr<const Model> model) : session_(std::move(model), "g2p", one_thread()) {
  const TowerSpec& spec = session_.spec();
  const bool fits = spec.inputs.size() == 1 && spec.outputs.size() == 1 &&
                    spec.values[spec.inputs[0]].dtype == DType::kI64 && spec.values[spec.inputs[0]].dims.size() == 2 &&
                    spec.values[spec.outputs[0]].dtype == DType::kF32;
  if (!fits) fail_argument("tower 'g2p': expected one input of int64 [1, letters] and one output of float32");
}

Phones LetterToSound::pronounce(std::string_view word) {
  Phones phones;
  for (size_t at = 0; at < word.size(); at += kPiece) pronounce_piece(word.substr(at, kPiece), &phones);
  settle_stress(&phones);
  return phones;
}

void LetterToSound::pronounce_piece(std::string_view piece, Phones* phones) {
  std::vector<int64_t> letters = {0};
  for (char c : piece) letters.push_back(letter_id(c));
  letters.push_back(0);
  const auto length = static_cast<int64_t>(letters.size());
  Tensor input;
  input.type = {DType::kI64, {1, length}};
  input.data = letters.data();
  const Tensor& scores = session_.run({input})[0];
  if (scores.type.shape != Shape{1, length, kSlots * kLabels}) {
    fail_argument("tower 'g2p': scores are " + shape_text(scores.type.shape) + ", expected " +
                  shape_text({1, length, kSlots * kLabels}));
  }
  int64_t previous = 0;
  for (int64_t slot = 0; slot < length * kSlots; ++slot) {
    const float* row = scores.f32() + slot * kLabels;
    const int64_t label = std::max_element(row, row + kLabels) - row;
    if (label != 0 && label != previous) phones->push_back(static_cast<uint8_t>(label - 1 + kFirstPhone));
    previous = label;
  }
}

}  // namespace pocketuni
