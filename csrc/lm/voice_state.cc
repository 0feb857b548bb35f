#include "lm/voice_state.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace pocketuni {
namespace {

constexpr char kMagic[4] = {'P', 'U', 'V', 'S'};
constexpr size_t kHead = 40;
constexpr uint32_t kMaxPositions = 1 << 16, kMaxLayers = 1 << 10, kMaxWidth = 1 << 16;

uint32_t number_at(const uint8_t* data, size_t offset) {
  uint32_t value;
  std::memcpy(&value, data + offset, sizeof value);
  return value;
}

/// Four halves at a time: where all bits of an exponent are set, one more carries into the sign's place.
bool all_finite(const std::vector<uint16_t>& halves) {
  constexpr uint64_t kExponents = 0x7c007c007c007c00u, kOnes = 0x0400040004000400u, kSigns = 0x8000800080008000u;
  uint64_t carries = 0;
  size_t i = 0;
  for (uint64_t four; i + 4 <= halves.size(); i += 4) {
    std::memcpy(&four, halves.data() + i, sizeof four);
    carries |= (four & kExponents) + kOnes;
  }
  for (; i < halves.size(); ++i) carries |= (halves[i] & kExponents) + kOnes;
  return (carries & kSigns) == 0;
}

}  // namespace

VoiceState VoiceState::parse(const uint8_t* data, size_t size) {
  if (size < kHead || std::memcmp(data, kMagic, sizeof kMagic) != 0 || number_at(data, 4) != 1) {
    fail_argument("this is not a voice state of a Pocket TTS model");
  }
  VoiceState state;
  std::copy_n(data + 8, state.model.size(), state.model.begin());
  state.layers = number_at(data, 24);
  state.positions = number_at(data, 28);
  state.width = number_at(data, 32);
  state.heads = number_at(data, 36);
  const bool sound = state.layers <= kMaxLayers && state.positions <= kMaxPositions && state.width <= kMaxWidth &&
                     state.heads > 0 && state.width % state.heads == 0;
  const uint64_t count = sound ? uint64_t{2} * state.layers * state.positions * state.width : 0;
  if (!sound || count == 0 || size - kHead != count * sizeof(uint16_t)) {
    fail_argument("the voice state has " + std::to_string(size) + " bytes, which is not what its head says; it was " +
                  "damaged or cut short");
  }
  state.halves.resize(static_cast<size_t>(count));
  std::memcpy(state.halves.data(), data + kHead, size - kHead);
  if (!all_finite(state.halves)) fail_argument("the voice state holds numbers that are not finite");
  return state;
}

std::string VoiceState::bytes() const {
  std::string text(kMagic, sizeof kMagic);
  const auto put = [&](size_t number) {
    const auto value = static_cast<uint32_t>(number);
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  put(1);
  text.append(reinterpret_cast<const char*>(model.data()), model.size());
  for (size_t number : {layers, positions, width, heads}) put(number);
  text.append(reinterpret_cast<const char*>(halves.data()), halves.size() * sizeof(uint16_t));
  return text;
}

VoiceState VoiceState::of(const FlowLm& lm, const ModelIdentity& model) {
  VoiceState state;
  state.model = model;
  state.layers = lm.chain().layers();
  state.positions = static_cast<size_t>(lm.chain().position());
  state.width = lm.chain().key_width();
  state.heads = lm.chain().key_heads();
  state.halves = lm.chain().read_state();
  return state;
}

void VoiceState::load_into(FlowLm* lm, const ModelIdentity& wanted) const {
  if (model != wanted || layers != lm->chain().layers() || width != lm->chain().key_width() ||
      heads != lm->chain().key_heads())
    fail_other_model();
  lm->load_state(halves, positions);
}

void fail_other_model() {
  fail_argument("the voice state was made by another model; make the voice anew with this one");
}

}  // namespace pocketuni
