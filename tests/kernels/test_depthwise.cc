// The kernels of depthwise convolutions in int8 of every ISA: bit for bit the same as a plain sum of integers, within
// the error of rounding from what floats give, next to pages that may not be touched.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "avxvnni_in_evex.h"
#include "guarded.h"
#include "kernels/check.h"
#include "kernels/kernels.h"

using namespace pocketuni;

namespace {

std::mt19937 rng(17);
int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }
float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(rng); }

struct Layer {
  int height, width, channels, lines, taps;     // of x, then of the window
  int stride, dilation, top, left, rows, wide;  // rows x wide pixels of results
};

Layer random_layer(int number) {
  Layer l{pick(1, 9),
          pick(1, 24),
          number % 3 ? pick(1, kPanel) : kPanel,
          pick(1, 8),
          pick(1, 9),
          pick(1, 3),
          pick(1, 3),
          0,
          0,
          0,
          0};
  const int tall = (l.lines - 1) * l.dilation + 1, span = (l.taps - 1) * l.dilation + 1;
  l.top = pick(0, tall), l.left = pick(0, span);
  l.rows = std::max(1, (l.height + l.top + pick(0, tall) - tall) / l.stride + 1);
  l.wide = std::max(1, (l.width + l.left + pick(0, span) - span) / l.stride + 1);
  return l;
}

struct Problem {
  Layer layer;
  ptrdiff_t x_stride, quads;  // quads: of a line of taps
  Guarded<float> x, scales, bias;
  Guarded<uint8_t> tile;

  explicit Problem(const Layer& l)
      : layer(l),
        x_stride(l.channels + pick(0, 1) * 5),
        quads((l.taps + 3) / 4),
        x(static_cast<size_t>((l.height * l.width - 1) * x_stride + l.channels)),
        scales(kPanel),
        bias(static_cast<size_t>(l.channels)),
        tile(static_cast<size_t>((l.lines * l.taps + 3) / 4 * 64)) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = uniform(-2, 2);
    for (size_t i = 0; i < kPanel; ++i) scales[i] = uniform(0.001f, 0.02f);
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = uniform(-1, 1);
    const bool extreme = pick(0, 1) != 0;
    for (size_t i = 0; i < tile.size(); ++i) tile[i] = static_cast<uint8_t>(extreme ? pick(0, 1) * 255 : pick(0, 255));
  }

  int weight(int tap, int channel) const {
    return tile[static_cast<size_t>(tap / 4 * 64 + channel * 4 + tap % 4)] - 128;
  }
  /// The number that a tap reads for a pixel of the results; null outside.
  const float* at(int row, int column, int line, int tap, int channel) const {
    const Layer& l = layer;
    const int i = row * l.stride - l.top + line * l.dilation, j = column * l.stride - l.left + tap * l.dilation;
    if (i < 0 || i >= l.height || j < 0 || j >= l.width) return nullptr;
    return x.data() + (i * l.width + j) * x_stride + channel;
  }
  Epilogue epilogue(int variant) const {
    Epilogue e;
    if (variant & 1) e.bias = bias.data();
    if (variant & 2) e.activation = Activation::kRelu;
    return e;
  }
  size_t results() const { return static_cast<size_t>(layer.rows * layer.wide * layer.channels); }

  /// All results by the kernels, `some` pixels of a line at a time.
  void run(const Kernels& k, const Epilogue& e, int some, float* y) const {
    const Layer& l = layer;
    DepthwiseScales by;
    k.depthwise_scales(x.data(), x_stride, l.height * l.width, l.channels, scales.data(), &by);
    Guarded<uint8_t> weights(64 + static_cast<size_t>(l.lines * quads * 64));
    k.depthwise_weights(tile.data(), l.lines, l.taps, weights.data());
    const int all = static_cast<int>((l.wide - 1) * l.stride + (4 * quads - 1) * l.dilation + 1);
    const int before = std::min(all, l.left), pixels = std::min(all - before, l.width);
    const QuadLine inside{before, pixels, all - before - pixels, l.dilation}, outside{all, 0, 0, l.dilation};
    const size_t line_bytes = static_cast<size_t>(all) * 64;
    Guarded<uint8_t> buffer(static_cast<size_t>(l.height + 1) * line_bytes);
    k.depthwise_round(x.data(), x_stride, l.channels, &outside, by.inverse, buffer.data());
    for (int i = 0; i < l.height; ++i) {
      k.depthwise_round(x.data() + i * l.width * x_stride, x_stride, l.channels, &inside, by.inverse,
                        buffer.data() + static_cast<size_t>(i + 1) * line_bytes);
    }
    for (int row = 0; row < l.rows; ++row) {
      for (int column = 0; column < l.wide; column += some) {
        std::vector<const uint8_t*> lines;
        for (int line = 0; line < l.lines; ++line) {
          const int at = row * l.stride - l.top + line * l.dilation;
          const size_t slot = at >= 0 && at < l.height ? static_cast<size_t>(at + 1) : 0;
          lines.push_back(buffer.data() + slot * line_bytes + (column * l.stride + 3 * l.dilation) * 64);
        }
        const QuadWindow window{lines.data(), l.lines, static_cast<int>(quads), l.dilation * 4 * 64, l.stride * 64};
        k.depthwise_i8(&window, std::min(some, l.wide - column), l.channels, weights.data(), by.scale, &e,
                       y + (row * l.wide + column) * l.channels, l.channels);
      }
    }
  }

  /// The same by the definition.
  void define(const Epilogue& e, float* y) const {
    const Layer& l = layer;
    for (int c = 0; c < l.channels; ++c) {
      float max = 0;
      bool finite = true;
      for (int i = 0; i < l.height * l.width; ++i) {
        const float size = std::fabs(x[static_cast<size_t>(i * x_stride + c)]);
        finite = finite && std::isfinite(size);
        max = std::max(max, size);
      }
      const bool none = !finite || max < 1e-30f;
      const float inverse = none ? 0 : 127.0f / max;
      const float scale = !finite ? NAN : none ? 0 : max / 127.0f * scales[static_cast<size_t>(c)];
      for (int pixel = 0; pixel < l.rows * l.wide; ++pixel) {
        int sum = 0;
        for (int tap = 0; tap < l.lines * l.taps; ++tap) {
          const float* from = at(pixel / l.wide, pixel % l.wide, tap / l.taps, tap % l.taps, c);
          if (from == nullptr || none) continue;
          sum += weight(tap, c) * static_cast<int>(std::nearbyint(static_cast<double>(*from) * inverse));
        }
        float value = static_cast<float>(sum) * scale;
        if (e.bias != nullptr) value += e.bias[c];
        if (e.activation == Activation::kRelu && value < 0) value = 0;
        y[pixel * l.channels + c] = value;
      }
    }
  }
};

bool same(const float* a, const float* b, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!(std::isnan(a[i]) && std::isnan(b[i])) && !(a[i] == b[i])) return false;
  }
  return true;
}

void test_problem(const Kernels& k, const Problem& p, int variant) {
  Guarded<float> want(p.results()), got(p.results());
  const Epilogue e = p.epilogue(variant);
  p.define(e, want.data());
  for (int some : {p.layer.wide, 1, 5}) {
    std::fill_n(got.data(), got.size(), -77.0f);
    p.run(k, e, some, got.data());
    const Layer& l = p.layer;
    CHECK(same(got.data(), want.data(), got.size()),
          "%s %d x %d x %d window %d x %d stride %d dilation %d top %d left %d, %d at a time, variant %d", k.isa,
          l.height, l.width, l.channels, l.lines, l.taps, l.stride, l.dilation, l.top, l.left, some, variant);
  }
}

void test_random(const Kernels& k) {
  for (int i = 0; i < 300; ++i) test_problem(k, Problem(random_layer(i)), i % 4);
}

// Channels that are not finite, zero, next to nothing, constant, or exactly between two integers.
void test_special(const Kernels& k) {
  const Problem p({6, 9, kPanel, 5, 5, 1, 1, 2, 2, 6, 9});
  const auto fill = [&](int channel, float value) {
    for (int i = 0; i < 54; ++i) p.x[static_cast<size_t>(i * p.x_stride + channel)] = value;
  };
  fill(0, 0.0f), fill(1, 1e-31f), fill(2, 0.7f), fill(3, -3e38f), fill(4, NAN), fill(5, 2e-30f);
  p.x[static_cast<size_t>(20 * p.x_stride + 6)] = NAN;
  p.x[static_cast<size_t>(31 * p.x_stride + 7)] = INFINITY;
  p.x[static_cast<size_t>(53 * p.x_stride + 8)] = -INFINITY;
  for (int i = 0; i < 54; ++i) p.x[static_cast<size_t>(i * p.x_stride + 9)] = static_cast<float>(i) + 0.5f;
  p.x[9] = 127.0f;
  test_problem(k, p, 1);
}

// What x loses by rounding is half a step for each tap.
void test_against_floats(const Kernels& k) {
  const Problem p({14, 14, kPanel, 7, 7, 1, 1, 3, 3, 14, 14});
  std::vector<float> got(p.results());
  p.run(k, Epilogue{}, 14, got.data());
  for (int c = 0; c < kPanel; ++c) {
    double squares = 0, errors = 0;
    for (int pixel = 0; pixel < 14 * 14; ++pixel) {
      double want = 0, bound = 1e-4;
      for (int tap = 0; tap < 49; ++tap) {
        const float* from = p.at(pixel / 14, pixel % 14, tap / 7, tap % 7, c);
        const double w = p.weight(tap, c) * static_cast<double>(p.scales[static_cast<size_t>(c)]);
        want += from == nullptr ? 0 : w * static_cast<double>(*from);
        bound += from == nullptr ? 0 : std::fabs(w) * 0.5 * 2 / 127;  // |x| <= 2
      }
      const double error = std::fabs(got[static_cast<size_t>(pixel * kPanel + c)] - want);
      squares += want * want, errors += error * error;
      CHECK(error <= bound, "%s channel %d pixel %d: off by %g, bound %g", k.isa, c, pixel, error, bound);
    }
    CHECK(errors <= 1e-4 * squares, "%s channel %d: relative error %g", k.isa, c, std::sqrt(errors / squares));
  }
}

}  // namespace

int main() {
  std::vector<const Kernels*> tables;
  for (const Kernels* const* k = usable_kernels(); *k != nullptr; ++k) tables.push_back(*k);
  if (const Kernels* k = avxvnni_in_evex()) tables.push_back(k);
  for (const Kernels* k : tables) {
    test_random(*k);
    test_special(*k);
    test_against_floats(*k);
  }
  return check::summary();
}
