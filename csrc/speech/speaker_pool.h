// From mel frames to a speaker vector that grows better with each frame: statistics of what a tower says of the frames
// that hold speech.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "graph/session.h"

namespace pocketuni {

/// Sums over rows, from which mean and standard deviation follow. In double precision and in the order of the rows.
class RunningStats {
 public:
  explicit RunningStats(size_t width) : sum_(width), squares_(width) {}
  void add(const float* row);
  void clear();
  uint64_t rows() const { return rows_; }
  /// [2 width]: means, then standard deviations; at least one row.
  std::vector<float> values() const;

 private:
  std::vector<double> sum_, squares_;
  uint64_t rows_ = 0;
};

/// Speaker vectors of the whole and of stretches of two seconds of speech. Memory does not grow. Not thread-safe.
class SpeakerPool {
 public:
  /// `width`: of a row of features. Throws Error(kInvalidArgument) when voice.speaker_head is missing or does not fit.
  SpeakerPool(std::shared_ptr<const Model> model, const SessionOptions& options, size_t width);

  /// Adds a frame that holds speech.
  void add(const float* features);
  uint64_t frames() const { return whole_.rows(); }
  /// The speaker vector of all frames, at least one: 192 floats of unit length. Throws Error(kFormat) when the tower's
  /// result is no vector.
  std::vector<float> vector();
  /// 0 when all stretches sound like one speaker; else the share of the smaller of two groups of stretches that sound
  /// like different ones. Always 0 below four stretches.
  double other_speaker_share() const;

 private:
  std::vector<float> run_head(const RunningStats& stats);
  void keep_stretch(std::vector<float> vector);

  Session head_;
  RunningStats whole_, stretch_;
  std::vector<std::vector<float>> stretches_;  // every stride_th one, at most kMostStretches
  uint64_t stride_ = 1, ended_ = 0;
};

}  // namespace pocketuni
