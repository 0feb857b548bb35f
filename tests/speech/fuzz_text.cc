// Feeds the text front end, dictionaries (inputs that start with PULX) and tokenizers of Pocket TTS models (PUTK). The
// model comes from make_frontend.py; run it from the repository's root.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "lm/pocket_text.h"
#include "speech/lexicon.h"
#include "speech/text_frontend.h"

namespace {

void look_up(const uint8_t* data, size_t size) {
  const pocketuni::Lexicon lexicon(data, size);
  pocketuni::Phones phones;
  for (const char* word : {"a", "hello", "zoom", "'s"}) lexicon.find(word, &phones);
}

/// A tokenizer takes texts apart and puts them together: some that many have pieces for, and its own last bytes.
void tokenize(const uint8_t* data, size_t size) {
  const auto tokenizer = std::make_shared<const pocketuni::PieceTokenizer>("the tokenizer", data, size);
  const pocketuni::PocketText text({}, tokenizer);
  const size_t most = std::min<size_t>(size, 24);
  const std::string_view own(reinterpret_cast<const char*>(data) + size - most, most);
  for (std::string_view sample : {std::string_view("Hello, world.\t3.5! \xe2\x96\x81 a\xcc\x81\xff\xe2\x96"), own}) {
    for (const std::string& chunk : text.chunks(sample, 5)) text.frames_after_eos(chunk);
    tokenizer->decode(tokenizer->encode(sample));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto model = pocketuni::Model::open("tests/speech/frontend.puni");
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const std::string_view kind = text.substr(0, 4); kind == "PULX" || kind == "PUTK") {
    try {
      kind == "PULX" ? look_up(data, size) : tokenize(data, size);
    } catch (const pocketuni::Error&) {
    }
    return 0;
  }
  // One front end serves many texts: finish() makes it ready for another, and plans of its tower are there already.
  static std::optional<pocketuni::TextFrontEnd> kept;
  static size_t texts = 0;
  if (texts++ % 64 == 0) kept.emplace(model);
  pocketuni::TextFrontEnd& front_end = *kept;
  const size_t piece = size > 0 ? 1 + data[0] : 1;
  pocketuni::Utterance utterance;
  const auto drain = [&] {
    for (bool more = true; more;) {
      try {
        more = front_end.next(&utterance);
      } catch (const pocketuni::Error&) {
      }
    }
  };
  for (size_t at = 0; at < size; at += piece) {
    front_end.push(text.substr(at, piece));
    drain();
  }
  front_end.finish();
  drain();
  return 0;
}
