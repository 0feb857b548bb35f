#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "speech/audio_frames.h"
#include "speech/prosody.h"
#include "speech/units.h"

using namespace pocketuni;

namespace {

/// `0, phones ..., period, 0`, each unit as many frames long as `frames` says at its place.
Utterance utterance_of(size_t phones) {
  Utterance utterance;
  utterance.units.assign(phones + 3, kFirstVowel);
  utterance.units.front() = utterance.units.back() = kUnitSilence;
  utterance.units[phones + 1] = kUnitPeriod;
  utterance.flags.assign(phones + 3, 0);
  return utterance;
}

UnitFeatures features_of(const std::vector<double>& frames) {
  UnitFeatures features;
  features.width = 2;
  for (size_t i = 0; i < frames.size(); ++i) {
    features.log_frames.push_back(static_cast<float>(std::log(frames[i])));
    features.hidden.push_back(static_cast<float>(i));
    features.hidden.push_back(-static_cast<float>(i));
    features.pitch.push_back(0.1f * static_cast<float>(i));
    features.voiced.push_back(0);
    features.energy.push_back(static_cast<float>(i) + 0.5f);
  }
  return features;
}

std::vector<size_t> lengths(const FramePlan& plan, size_t units) {
  std::vector<size_t> result;
  for (size_t i = 0; i < units; ++i) result.push_back(plan.start_of(i + 1) - plan.start_of(i));
  return result;
}

void test_rounding_errors_are_carried_on() {
  FramePlan plan;
  plan.plan(utterance_of(5), features_of({2.4, 2.4, 2.4, 2.4, 2.4, 2.4, 2.4, 2.4}), 1);
  CHECK((lengths(plan, 8) == std::vector<size_t>{2, 3, 2, 3, 2, 2, 3, 2}));
  CHECK(plan.frames() == 19, "%zu", plan.frames());  // 19.2
  double exact = 19.2;
  size_t whole = 19;
  for (int i = 0; i < 40; ++i) {
    plan.plan(utterance_of(5), features_of({2.4, 2.4, 2.4, 2.4, 2.4, 2.4, 2.4, 2.4}), 1);
    exact += 19.2, whole += plan.frames();
    CHECK(std::fabs(exact - static_cast<double>(whole)) <= 0.51, "%f and %zu", exact, whole);
  }
}

void test_speed_divides_durations() {
  for (double speed : {0.25, 0.8, 1.0, 2.0}) {
    FramePlan plan;
    plan.plan(utterance_of(20), features_of(std::vector<double>(23, 8.3)), speed);
    CHECK(std::fabs(static_cast<double>(plan.frames()) - 23 * 8.3 / speed) <= 0.51, "speed %f", speed);
  }
}

void test_phones_and_edges_have_a_frame_and_pauses_need_none() {
  FramePlan plan;
  plan.plan(utterance_of(3), features_of({0.1, 0.1, 0.1, 0.1, 0.1, 0.1}), 4);
  CHECK((lengths(plan, 6) == std::vector<size_t>{1, 1, 1, 1, 0, 1}));
  plan.plan(utterance_of(3), features_of({20, 20, 20, 20, 20, 20}), 1);
  CHECK(plan.frames() >= 117 && plan.frames() <= 120, "debt is bounded: %zu", plan.frames());
}

void test_durations_are_bounded() {
  FramePlan plan;
  plan.plan(utterance_of(1), features_of({1, 1e30, 1, 1}), 1);
  CHECK(plan.frames() < 410, "%zu", plan.frames());
}

void test_breaks_are_exact() {
  Utterance utterance = utterance_of(3);
  utterance.units[2] = kUnitComma;
  utterance.breaks = {{2, 250}};
  FramePlan plan;
  plan.plan(utterance, features_of({3, 3, 3, 3, 3, 3}), 2);
  CHECK(lengths(plan, 6)[2] == 21 || lengths(plan, 6)[2] == 22, "21.53 frames, not divided by the speed");
  CHECK(plan.gaps().empty());
  utterance.breaks = {{2, 2000}};
  plan.plan(utterance, features_of({3, 3, 3, 3, 3, 3}), 1);
  CHECK(plan.gaps().size() == 1);
  const int64_t break_samples = plan.samples_before(plan.start_of(3)) - plan.samples_before(plan.start_of(2));
  CHECK(break_samples == 2 * kRateHz, "%lld", static_cast<long long>(break_samples));
  CHECK(plan.frames() < 60, "a long break costs no frames");
}

void test_clauses_of_one_sentence_stay_together() {
  FramePlan plan;
  Utterance clause = utterance_of(2), rest = utterance_of(2);
  clause.clause = true;
  plan.plan(clause, features_of({9, 3, 3, 4, 9}), 1);
  CHECK((lengths(plan, 5) == std::vector<size_t>{9, 3, 3, 4, 1}));
  plan.plan(rest, features_of({9, 3, 3, 4, 9}), 1);
  CHECK((lengths(plan, 5) == std::vector<size_t>{1, 3, 3, 4, 9}));
  plan.plan(rest, features_of({9, 3, 3, 4, 9}), 1);
  CHECK((lengths(plan, 5) == std::vector<size_t>{9, 3, 3, 4, 9}));
}

void test_rows_of_the_decoder() {
  FramePlan plan;
  plan.plan(utterance_of(1), features_of({2, 4, 1, 3}), 1);
  CHECK(plan.frames() == 10);
  std::vector<float> hidden(20), place(30), prosody(30);
  plan.fill(0, 10, hidden.data(), place.data(), prosody.data());
  const size_t owner[] = {0, 0, 1, 1, 1, 1, 2, 3, 3, 3};
  const float passed[] = {0.25f, 0.75f, 0.125f, 0.375f, 0.625f, 0.875f, 0.5f, 1 / 6.0f, 0.5f, 5 / 6.0f};
  const float length[] = {2, 4, 1, 3};
  for (size_t t = 0; t < 10; ++t) {
    const auto unit = static_cast<float>(owner[t]);
    CHECK(hidden[2 * t] == unit && hidden[2 * t + 1] == -unit, "frame %zu", t);
    CHECK(std::fabs(place[3 * t] - passed[t]) < 1e-6 && std::fabs(place[3 * t + 2] - (1 - passed[t])) < 1e-6);
    CHECK(std::fabs(place[3 * t + 1] - std::log(length[owner[t]])) < 1e-6, "frame %zu", t);
    CHECK(prosody[3 * t] == 0.1f * unit, "frame %zu", t);
    CHECK(prosody[3 * t + 1] == 0.5f && prosody[3 * t + 2] == unit + 0.5f, "frame %zu", t);
  }
  std::vector<float> one(6);
  plan.fill(6, 1, one.data(), one.data() + 2, one.data() + 2);
  CHECK(one[0] == 2, "a row by itself");
}

void test_numbers_that_are_none_are_refused() {
  UnitFeatures features = features_of({1, 1, 1, 1});
  features.energy[2] = std::numeric_limits<float>::quiet_NaN();
  FramePlan plan;
  std::string text;
  try {
    plan.plan(utterance_of(1), features, 1);
  } catch (const Error& error) {
    text = error.what();
  }
  CHECK(text.find("'energy' is not finite") != std::string::npos, "%s", text.c_str());
}

}  // namespace

int main() {
  test_rounding_errors_are_carried_on();
  test_speed_divides_durations();
  test_phones_and_edges_have_a_frame_and_pauses_need_none();
  test_durations_are_bounded();
  test_breaks_are_exact();
  test_clauses_of_one_sentence_stay_together();
  test_rows_of_the_decoder();
  test_numbers_that_are_none_are_refused();
  return check::summary();
}
