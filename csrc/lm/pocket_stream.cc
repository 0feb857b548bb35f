#include "lm/pocket_stream.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace pocketuni {
namespace {

constexpr size_t kFirstFrames = 1, kMostFrames = 8;  // the first chunk comes soon, later ones cost less
constexpr size_t kClauseWords = 3;                   // a shorter one would be spoken as if it stood alone
constexpr double kMaxStreamVolume = 10, kKnee = 0.95;

StreamOptions checked(const StreamOptions& options) {
  if (!(options.volume >= 0 && options.volume <= kMaxStreamVolume)) {
    fail_argument("volume is " + std::to_string(options.volume) + ", expected 0 to 10");
  }
  return options;
}

/// Where the last clause that a space follows ends; 0 for none that is long enough.
size_t clause_end(std::string_view text) {
  size_t end = 0, words = 0;
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    const bool space = text[i + 1] == ' ' || text[i + 1] == '\n';
    words += space && text[i] != ' ' && text[i] != '\n';
    if (space && words >= kClauseWords && (text[i] == ',' || text[i] == ';' || text[i] == ':')) end = i + 1;
  }
  return end;
}

}  // namespace

PocketStream::PocketStream(std::shared_ptr<const Model> model, const StreamOptions& options, const VoiceState* voice)
    : speech_(model, checked(options), voice), text_(model->file()), options_(options), growing_(kFirstFrames) {
  const PocketSettings settings = read_pocket_settings(model->file());
  frames_per_second_ = static_cast<double>(settings.rate_hz) / static_cast<double>(settings.frame_samples);
}

void PocketStream::push(std::string_view text) {
  splitter_.push(text);
  waiting_ += text;
}

void PocketStream::finish() {
  const std::string rest = std::move(waiting_);
  waiting_.clear();
  splitter_ = SentenceSplitter();
  spoken_ = 0;
  begins_ = true;
  speak(rest, -1, kMaxChunkTokens);
}

void PocketStream::speak(std::string_view text, int64_t frames_after_eos, size_t max_tokens) {
  if (max_tokens == 0) fail_argument("max_tokens is 0, expected 1 or more");
  for (const std::string& chunk : text_.chunks(text, max_tokens)) {
    TextChunk next;
    next.ids = text_.tokenizer().encode(text_.prepare(chunk));
    next.max_frames = most_frames(next.ids.size(), frames_per_second_);
    next.frames_after_eos = frames_after_eos < 0 ? text_.frames_after_eos(chunk) : frames_after_eos;
    speech_.push(std::move(next));
  }
}

void PocketStream::forget(size_t bytes) {
  waiting_.erase(0, bytes);
  spoken_ += bytes;
  begins_ = false;
}

/// Hands over what is complete of the text that waits; false when nothing is.
bool PocketStream::speak_complete() {
  size_t complete = 0;
  while (const std::optional<Sentence> sentence = splitter_.next()) {
    const uint64_t end = sentence->text.end.back();
    if (end > spoken_) complete = static_cast<size_t>(end - spoken_);
  }
  if (complete == 0 && (begins_ || waiting_.size() > kClauseLength)) complete = clause_end(waiting_);
  if (complete == 0) return false;
  const std::string text = waiting_.substr(0, complete);
  forget(complete);
  speak(text, -1, kMaxChunkTokens);
  return true;
}

const std::vector<float>* PocketStream::next() {
  const size_t most = options_.chunk_frames > 0 ? options_.chunk_frames : growing_;
  do {
    speech_.next(most, &samples_);
  } while (samples_.empty() && !cancelled() && speak_complete());
  growing_ = samples_.empty() ? kFirstFrames : std::min(2 * growing_, kMostFrames);
  if (samples_.empty()) return nullptr;
  limit_samples(options_.volume, &samples_);
  return &samples_;
}

void limit_samples(double volume, std::vector<float>* samples) {
  for (float& sample : *samples) {
    const double value = std::isfinite(sample) ? sample * volume : 0, size = std::fabs(value);
    const double bent = size <= kKnee ? size : kKnee + (1 - kKnee) * std::tanh((size - kKnee) / (1 - kKnee));
    sample = static_cast<float>(std::copysign(bent, value));
  }
}

}  // namespace pocketuni
