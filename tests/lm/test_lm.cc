// What autoregressive speech is made of: the cache of keys and values, halves, noise, saved voices.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "kernels/kernels.h"
#include "lm/half.h"
#include "lm/kv_cache.h"
#include "lm/noise.h"
#include "lm/voice_state.h"

using namespace pocketuni;

namespace {

std::vector<float> normal(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> draw;
  std::vector<float> values(count);
  for (float& value : values) value = draw(generator);
  return values;
}

struct Sequence {
  AttentionShape shape;
  size_t rows;
  std::vector<float> queries, keys, values;
  size_t q_width() const { return static_cast<size_t>(shape.heads) * static_cast<size_t>(shape.width); }
  size_t k_width() const { return static_cast<size_t>(shape.kv_heads) * static_cast<size_t>(shape.width); }
};

Sequence make_sequence(const AttentionShape& shape, size_t rows) {
  Sequence s{shape, rows, {}, {}, {}};
  s.queries = normal(rows * s.q_width(), 1);
  s.keys = normal(rows * s.k_width(), 2);
  s.values = normal(rows * s.k_width(), 3);
  return s;
}

/// In double, one query after the other.
std::vector<double> naive(const Sequence& s) {
  std::vector<double> out(s.rows * s.q_width());
  const int width = s.shape.width, share = s.shape.heads / s.shape.kv_heads;
  for (size_t row = 0; row < s.rows; ++row) {
    const size_t from =
        s.shape.context > 0 && row + 1 > static_cast<size_t>(s.shape.context) ? row + 1 - s.shape.context : 0;
    for (int head = 0; head < s.shape.heads; ++head) {
      const size_t at = static_cast<size_t>(head / share * width);
      std::vector<double> weights;
      double total = 0;
      for (size_t key = from; key <= row; ++key) {
        double dot = 0;
        for (int c = 0; c < width; ++c) {
          dot += double{s.queries[row * s.q_width() + head * width + c]} * s.keys[key * s.k_width() + at + c];
        }
        weights.push_back(std::exp(dot));
        total += weights.back();
      }
      for (size_t key = from; key <= row; ++key) {
        for (int c = 0; c < width; ++c) {
          out[row * s.q_width() + head * width + c] +=
              weights[key - from] / total * s.values[key * s.k_width() + at + c];
        }
      }
    }
  }
  return out;
}

/// In calls of the sizes given, the last one again and again.
std::vector<float> cached(const Sequence& s, const Kernels* kernels, bool half, const std::vector<size_t>& sizes,
                          int threads = 1) {
  ThreadPool pool(threads);
  KvCache cache(kernels, s.shape, half);
  std::vector<float> out(s.rows * s.q_width());
  size_t call = 0;
  for (size_t row = 0; row < s.rows; ++call) {
    const size_t count = std::min(sizes[std::min(call, sizes.size() - 1)], s.rows - row);
    cache.append(s.keys.data() + row * s.k_width(), s.values.data() + row * s.k_width(),
                 static_cast<ptrdiff_t>(s.k_width()), count);
    cache.attend(s.queries.data() + row * s.q_width(), static_cast<ptrdiff_t>(s.q_width()), count,
                 out.data() + row * s.q_width(), &pool);
    row += count;
  }
  return out;
}

void test_attention(const Kernels* kernels) {
  const AttentionShape shapes[] = {{4, 4, 16, 0}, {6, 2, 24, 0}, {2, 1, 8, 20}, {3, 3, 32, 1}, {1, 1, 64, 100}};
  for (const AttentionShape& shape : shapes) {
    const Sequence s = make_sequence(shape, 230);
    const std::vector<double> wanted = naive(s);
    for (bool half : {false, true}) {
      const std::vector<float> whole = cached(s, kernels, half, {230});
      double worst = 0;
      for (size_t i = 0; i < whole.size(); ++i) worst = std::max(worst, std::fabs(whole[i] - wanted[i]));
      CHECK(worst < (half ? 2e-2 : 2e-5), "%s, %d heads of %d, half %d: %g", kernels->isa, shape.heads, shape.width,
            half, worst);
      for (const std::vector<size_t>& sizes : {std::vector<size_t>{1}, {7}, {3, 1, 40, 16}, {100, 1}}) {
        CHECK(cached(s, kernels, half, sizes) == whole, "%s, calls of %zu", kernels->isa, sizes[0]);
        CHECK(cached(s, kernels, half, sizes, 2) == whole, "%s, calls of %zu, two threads", kernels->isa, sizes[0]);
      }
    }
  }
}

void test_rewinding_gives_the_same_again() {
  const Sequence s = make_sequence({2, 2, 16, 0}, 150);
  ThreadPool pool(1);
  KvCache cache(find_kernels("ref"), s.shape, true);
  const auto stride = static_cast<ptrdiff_t>(s.k_width());
  std::vector<float> once(s.q_width()), again(s.q_width());
  cache.append(s.keys.data(), s.values.data(), stride, 70);
  for (std::vector<float>* out : {&once, &again}) {
    cache.append(s.keys.data() + 70 * s.k_width(), s.values.data() + 70 * s.k_width(), stride, 80);
    cache.attend(s.queries.data(), static_cast<ptrdiff_t>(s.q_width()), 1, out->data(), &pool);
    cache.rewind(70);
    CHECK(cache.end() == 70);
  }
  CHECK(once == again);
  std::vector<float> keys(s.k_width()), values(s.k_width());
  cache.read(69, keys.data(), values.data());
  for (size_t c = 0; c < keys.size(); ++c) {
    CHECK(keys[c] == to_float(to_half(s.keys[69 * s.k_width() + c])), "key %zu", c);
    CHECK(values[c] == to_float(to_half(s.values[69 * s.k_width() + c])), "value %zu", c);
  }
}

void test_every_half_survives() {
  for (uint32_t half = 0; half < 65536; ++half) {
    const auto bits = static_cast<uint16_t>(half);
    float kernel;
    find_kernels("ref")->f16_to_f32(&bits, &kernel, 1);
    const bool nan = (half & 0x7c00u) == 0x7c00u && (half & 0x3ffu) != 0;
    if (nan) {
      CHECK(std::isnan(to_float(bits)) && (to_half(to_float(bits)) & 0x7e00u) == 0x7e00u, "%x", half);
      continue;
    }
    CHECK(to_float(bits) == kernel, "%x: %g, expected %g", half, to_float(bits), kernel);
    CHECK(to_half(kernel) == bits, "%x came back as %x", half, to_half(kernel));
    // Between two neighbours: to the nearer one, a tie to the even one.
    if ((half & 0x7fffu) >= 0x7bffu) continue;
    const float next = to_float(static_cast<uint16_t>(half + 1)), middle = (kernel + next) / 2;
    CHECK(to_half(middle) == (half & 1 ? half + 1 : half), "a tie behind %x", half);
    CHECK(to_half(std::nextafter(middle, next)) == half + 1, "beyond the tie behind %x", half);
  }
  CHECK(to_half(65520.0f) == 0x7c00u && to_half(65519.0f) == 0x7bffu);
  CHECK(to_half(-std::numeric_limits<float>::infinity()) == 0xfc00u && to_half(1e-9f) == 0);
}

void test_noise() {
  std::vector<float> all, row(32), again(32);
  double sum = 0, square = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    normal_noise(7, 1, i, 0.5, 0, row.size(), row.data());
    for (float value : row) sum += value, square += value * value;
    all.insert(all.end(), row.begin(), row.end());
  }
  const double count = static_cast<double>(all.size());
  CHECK(std::fabs(sum / count) < 0.01, "mean %g", sum / count);
  CHECK(std::fabs(square / count - 0.25) < 0.005, "variance %g", square / count);
  const auto beyond = std::count_if(all.begin(), all.end(), [](float value) { return std::fabs(value) > 1; });
  CHECK(std::fabs(static_cast<double>(beyond) / count - 0.0455) < 0.005, "%ld beyond two deviations", beyond);
  normal_noise(7, 1, 3, 0.5, 0, again.size(), again.data());
  CHECK(std::equal(again.begin(), again.end(), all.begin() + 3 * 32), "a row does not depend on those before");
  normal_noise(8, 1, 3, 0.5, 0, row.size(), row.data());
  CHECK(row != again, "another seed");
  normal_noise(7, 2, 3, 0.5, 0, row.size(), row.data());
  CHECK(row != again, "another chunk");
  normal_noise(7, 1, 3, 0.5, 0.3, row.size(), row.data());
  CHECK(std::all_of(row.begin(), row.end(), [](float value) { return std::fabs(value) <= 0.3f; }), "clamped");
}

std::string fault_of(const std::string& bytes) {
  try {
    VoiceState::parse(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void test_states_are_checked() {
  VoiceState state;
  state.model = {1, 2, 3};
  state.layers = 2, state.positions = 3, state.width = 8, state.heads = 2;
  state.halves.assign(2 * 2 * 3 * 8, 0x3c00);
  const std::string bytes = state.bytes();
  CHECK(bytes.size() == 40 + 2 * state.halves.size());
  const VoiceState back = VoiceState::parse(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  CHECK(back.model == state.model && back.halves == state.halves && back.heads == 2 && back.bytes() == bytes);
  for (size_t size = 0; size < bytes.size(); ++size) CHECK(!fault_of(bytes.substr(0, size)).empty(), "%zu bytes", size);
  for (size_t at : {0, 4, 24, 28, 32, 36}) {  // magic, version, sizes: any other value contradicts the rest
    std::string bad = bytes;
    bad[at + 3] = '\x7f';
    CHECK(!fault_of(bad).empty(), "a changed byte at %zu", at + 3);
  }
  std::string infinite = bytes;
  infinite[infinite.size() - 1] = '\x7c';
  infinite[infinite.size() - 2] = '\0';
  CHECK(fault_of(infinite).find("not finite") != std::string::npos);
}

}  // namespace

int main() {
  for (const Kernels* const* kernels = usable_kernels(); *kernels != nullptr; ++kernels) test_attention(*kernels);
  test_rewinding_gives_the_same_again();
  test_every_half_survives();
  test_noise();
  test_states_are_checked();
  return check::summary();
}
