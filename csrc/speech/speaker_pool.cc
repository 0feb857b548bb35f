#include "speech/speaker_pool.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "speech/audio_frames.h"
#include "speech/voice_towers.h"
#include "speech/voices.h"

namespace pocketuni {
namespace {

constexpr uint64_t kStretchFrames = 2 * kRateHz / kHopSamples;
constexpr size_t kMostStretches = 64, kLeastStretches = 4;
// Two groups of stretches are two speakers when the cosine between their middles lies below this. Within recordings of
// one speaker it was 0.59 to 0.88, of two pasted together -0.36 to 0.21 for 9 of 11 (LibriSpeech). A single stretch
// may be a cough or a laugh: it must be farther away.
constexpr double kOneSpeaker = 0.5, kOneSpeakerAndAnOddStretch = 0.1;

double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
  return ab / std::sqrt(std::max(aa * bb, 1e-30));
}

std::vector<double> widened(const std::vector<float>& x) { return {x.begin(), x.end()}; }

}  // namespace

void RunningStats::add(const float* row) {
  for (size_t i = 0; i < sum_.size(); ++i) {
    const auto value = static_cast<double>(row[i]);
    sum_[i] += value;
    squares_[i] += value * value;
  }
  ++rows_;
}

void RunningStats::clear() {
  std::fill(sum_.begin(), sum_.end(), 0.0);
  std::fill(squares_.begin(), squares_.end(), 0.0);
  rows_ = 0;
}

std::vector<float> RunningStats::values() const {
  const size_t width = sum_.size();
  std::vector<float> values(2 * width);
  const auto count = static_cast<double>(rows_);
  for (size_t i = 0; i < width; ++i) {
    const double mean = sum_[i] / count;
    values[i] = static_cast<float>(mean);
    values[width + i] = static_cast<float>(std::sqrt(std::max(0.0, squares_[i] / count - mean * mean)));
  }
  return values;
}

SpeakerPool::SpeakerPool(std::shared_ptr<const Model> model, const SessionOptions& options, size_t width)
    : head_(std::move(model), "voice.speaker_head", options), whole_(width), stretch_(width) {
  const TowerSpec& spec = head_.spec();
  const auto columns = static_cast<int64_t>(2 * width);
  find_ports(spec, spec.inputs, "input", {{"stats", DType::kF32, {1, columns}}}, true);
  const auto speaker = static_cast<int64_t>(kSpeakerWidth);
  find_ports(spec, spec.outputs, "output", {{"speaker", DType::kF32, {1, speaker}}}, true);
}

void SpeakerPool::add(const float* features) {
  whole_.add(features);
  stretch_.add(features);
  if (stretch_.rows() < kStretchFrames) return;
  if (ended_++ % stride_ == 0) keep_stretch(run_head(stretch_));
  stretch_.clear();
}

/// When there are too many, every other one goes, and from then on every other one comes.
void SpeakerPool::keep_stretch(std::vector<float> vector) {
  if (stretches_.size() == kMostStretches) {
    for (size_t i = 1; 2 * i < kMostStretches; ++i) stretches_[i] = std::move(stretches_[2 * i]);
    stretches_.resize(kMostStretches / 2);
    stride_ *= 2;
  }
  stretches_.push_back(std::move(vector));
}

std::vector<float> SpeakerPool::vector() { return run_head(whole_); }

std::vector<float> SpeakerPool::run_head(const RunningStats& stats) {
  const std::vector<float> values = stats.values();
  const Tensor& made = head_.run({rows_view(values, values.size(), 0)})[0];
  try {
    return unit_voice(std::vector<float>(made.f32(), made.f32() + element_count(made.type.shape)));
  } catch (const Error& error) {
    fail_format(std::string("tower 'voice.speaker_head': ") + error.what() + "; the model is bad");
  }
}

double SpeakerPool::other_speaker_share() const {
  const size_t count = stretches_.size();
  if (count < kLeastStretches) return 0;
  // Two means, started from the two stretches that are least alike.
  std::vector<std::vector<double>> points;
  for (const std::vector<float>& stretch : stretches_) points.push_back(widened(stretch));
  std::vector<double> centers[2] = {points[0], points[1]};
  double least = 2;
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double alike = cosine(points[i], points[j]);
      if (alike < least) least = alike, centers[0] = points[i], centers[1] = points[j];
    }
  }
  size_t members[2] = {};
  for (int round = 0; round < 4; ++round) {
    std::vector<double> sums[2] = {std::vector<double>(kSpeakerWidth), std::vector<double>(kSpeakerWidth)};
    members[0] = members[1] = 0;
    for (const std::vector<double>& point : points) {
      const int nearest = cosine(point, centers[0]) >= cosine(point, centers[1]) ? 0 : 1;
      for (size_t i = 0; i < kSpeakerWidth; ++i) sums[nearest][i] += point[i];
      ++members[nearest];
    }
    if (members[0] == 0 || members[1] == 0) return 0;
    for (int side : {0, 1}) centers[side] = sums[side];
  }
  const size_t smaller = std::min(members[0], members[1]);
  if (cosine(centers[0], centers[1]) >= (smaller < 2 ? kOneSpeakerAndAnOddStretch : kOneSpeaker)) return 0;
  return static_cast<double>(smaller) / static_cast<double>(count);
}

}  // namespace pocketuni
