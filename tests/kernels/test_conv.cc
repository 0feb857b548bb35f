// The convolution kernels of every ISA: bit for bit against the reference, row by row, next to pages that may not be
// touched. `--bench` prints times instead.
#include <algorithm>
#include <chrono>
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

std::mt19937 rng(11);
float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(rng); }
size_t round_up(int n, int multiple) { return static_cast<size_t>((n + multiple - 1) / multiple * multiple); }

enum class Kind { kF32, kF16, kI8, kDepthwise, kMaxPool };
const char* const kNames[] = {"f32", "f16", "i8", "depthwise", "max pool"};
constexpr Kind kKinds[] = {Kind::kF32, Kind::kF16, Kind::kI8, Kind::kDepthwise, Kind::kMaxPool};

struct Layer {
  int channels, n, taps, stride, dilation, pad, length, rows;
  int lines = 1;  // of a picture, each `length` pixels long

  int all_taps() const { return lines * taps; }
  int pixels() const { return lines * length; }
};

/// Random operands of one convolution, quantized by `quantizer`.
struct Problem {
  Kind kind;
  Layer layer;
  ptrdiff_t x_stride, q_stride;
  Guarded<float> x, weights, bias, residual, scales, row_scale;
  Guarded<uint16_t> halves;
  Guarded<uint8_t> bytes, zeros;
  Guarded<int8_t> q;
  Guarded<int32_t> sum;
  ConvWindow window;
  std::vector<ptrdiff_t> line_rows;

  Problem(Kind kind_, const Layer& l, const Kernels& quantizer)
      : kind(kind_),
        layer(l),
        x_stride(l.channels + (rng() % 2 ? 3 : 0)),
        q_stride(static_cast<ptrdiff_t>(round_up(l.channels, kGroup))),
        x(static_cast<size_t>((l.pixels() - 1) * x_stride + l.channels)),
        weights(kind >= Kind::kDepthwise ? static_cast<size_t>(l.all_taps() * l.channels)
                                         : round_up(l.n, kPanel) * static_cast<size_t>(l.all_taps() * l.channels)),
        bias(static_cast<size_t>(l.n)),
        residual(static_cast<size_t>((l.rows - 1) * (l.n + 2) + l.n)),
        scales(round_up(l.n, kPanel)),
        row_scale(static_cast<size_t>(l.pixels())),
        halves(kind == Kind::kF16 ? weights.size() : 0),
        bytes(kind == Kind::kI8 ? weights.size() : 0),
        zeros(kind == Kind::kI8 ? static_cast<size_t>(q_stride) : static_cast<size_t>(l.channels) * sizeof(float)),
        q(static_cast<size_t>(l.pixels() * q_stride)),
        sum(static_cast<size_t>(l.pixels() * q_stride / kGroup)),
        window{-l.pad, l.length, l.stride, l.dilation, l.taps, zeros.data()} {
    for (size_t i = 0; i < x.size(); ++i) x[i] = uniform(-2, 2);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = uniform(-1, 1);
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = uniform(-1, 1);
    for (size_t i = 0; i < residual.size(); ++i) residual[i] = uniform(-1, 1);
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = i < static_cast<size_t>(l.n) ? uniform(0.001f, 0.02f) : 0.0f;
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>((rng() & 0x83ff) | 0x3000);
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<uint8_t>(l.n % 2 ? 1 + rng() % 255 : rng() % 2 ? 1 : 255);
    if (l.lines > 1) {  // from any line of the picture, or from none
      for (int i = 0; i < l.lines; ++i)
        line_rows.push_back(rng() % 4 ? static_cast<int>(rng() % 4) % l.lines * l.length : -1);
      window.lines = l.lines, window.line_rows = line_rows.data();
    }
    quantizer.quantize_rows(x.data(), x_stride, l.pixels(), l.channels, q.data(), q_stride, row_scale.data(),
                            sum.data());
  }

  /// Output rows [row, row + count).
  void run(const Kernels& k, int row, int count, Epilogue e, float* y) const {
    ConvWindow w = window;
    w.first += row * w.stride;
    if (e.residual != nullptr) e.residual += row * e.residual_stride;
    const QuantizedRows rows{q.data(), q_stride, row_scale.data(), sum.data()};
    const int c = layer.channels, n = layer.n;
    if (kind == Kind::kF32) k.conv_f32(x.data(), x_stride, &w, count, c, weights.data(), n, &e, y, n);
    if (kind == Kind::kF16) k.conv_f16(x.data(), x_stride, &w, count, c, halves.data(), n, &e, y, n);
    if (kind == Kind::kI8) k.conv_i8(&rows, &w, count, c, bytes.data(), scales.data(), n, &e, y, n);
    if (kind == Kind::kDepthwise) k.depthwise_f32(x.data(), x_stride, &w, count, c, weights.data(), &e, y, n);
    if (kind == Kind::kMaxPool) k.max_pool_f32(x.data(), x_stride, &w, count, c, y, n);
  }

  Epilogue epilogue(int variant) const {
    Epilogue e;
    if (variant & 1) e.bias = bias.data();
    if (variant & 2) e.residual = residual.data();
    e.residual_stride = layer.n + 2;
    if (variant & 4) e.activation = Activation::kRelu;
    return e;
  }
};

void check_problem(const Kernels& ref, const Kernels& k, const Problem& p, int variant) {
  const size_t n = static_cast<size_t>(p.layer.n), rows = static_cast<size_t>(p.layer.rows);
  Guarded<float> want(rows * n), got(rows * n), alone(n);
  const Epilogue e = p.epilogue(variant);
  for (size_t i = 0; i < got.size(); ++i) got[i] = -77;
  p.run(ref, 0, p.layer.rows, e, want.data());
  p.run(k, 0, p.layer.rows, e, got.data());
  const Layer& l = p.layer;
  const char* kind = kNames[static_cast<int>(p.kind)];
  CHECK(std::memcmp(got.data(), want.data(), rows * n * sizeof(float)) == 0,
        "%s %s channels %d n %d taps %d x %d stride %d dilation %d pad %d length %d rows %d variant %d", k.isa, kind,
        l.channels, l.n, l.lines, l.taps, l.stride, l.dilation, l.pad, l.length, l.rows, variant);
  for (size_t r = 0; r < rows; ++r) {
    p.run(k, static_cast<int>(r), 1, e, alone.data());
    if (!CHECK(std::memcmp(alone.data(), want.data() + r * n, n * sizeof(float)) == 0, "%s %s row %zu of %zu alone",
               k.isa, kind, r, rows))
      break;
  }
}

int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); }

void test_random(const Kernels& ref, const Kernels& k) {
  for (Kind kind : kKinds) {
    for (int i = 0; i < 400; ++i) {
      Layer l{
          pick(1, i % 4 ? 40 : 90), pick(1, i % 4 ? 40 : 150), pick(1, 9), pick(1, 3), pick(1, 3), 0, pick(1, 40), 0};
      if (kind == Kind::kI8) l.channels = static_cast<int>(round_up(l.channels, 4));
      if (kind >= Kind::kDepthwise && i % 4 == 0)
        l.channels = 1 << pick(0, 3), l.stride = 1;    // several rows in a vector
      if (kind >= Kind::kDepthwise) l.n = l.channels;  // each channel alone
      l.lines = i % 3 ? 1 : pick(2, 4);
      const int span = (l.taps - 1) * l.dilation + 1;
      l.pad = pick(0, span);
      l.rows = std::max(1, (l.length + pick(l.pad, 2 * span) - span) / l.stride + 1);
      const Problem p(kind, l, ref);
      check_problem(ref, k, p, i % 8);
    }
  }
}

// The reference against a sum in double, so that the ISAs do not merely agree on a mistake.
void test_reference(const Kernels& ref) {
  for (Kind kind : {Kind::kF32, Kind::kI8, Kind::kDepthwise})
    for (int lines : {1, 3}) {
      const Layer l{20, kind == Kind::kDepthwise ? 20 : 37, 5, 2, 3, 4, 31, 14, lines};
      const Problem p(kind, l, ref);
      std::vector<float> got(static_cast<size_t>(l.rows * l.n));
      p.run(ref, 0, l.rows, Epilogue{}, got.data());
      for (int r = 0; r < l.rows; ++r) {
        for (int j = 0; j < l.n; ++j) {
          double want = 0, bound = 3e-5;
          for (int tap = 0; tap < l.all_taps(); ++tap) {
            const int beside = r * l.stride - l.pad + tap % l.taps * l.dilation;
            const int line = l.lines > 1 ? static_cast<int>(p.line_rows[static_cast<size_t>(tap / l.taps)]) : 0;
            if (beside < 0 || beside >= l.length || line < 0) continue;
            const int at = line + beside;
            for (int c = 0; c < l.channels; ++c) {
              const int input = tap * l.channels + c, inputs = l.all_taps() * l.channels;
              double w = 0;
              if (kind == Kind::kDepthwise) w = c == j ? p.weights[static_cast<size_t>(input)] : 0.0f;
              if (kind == Kind::kF32) w = p.weights[static_cast<size_t>((j / 16 * inputs + input) * 16 + j % 16)];
              if (kind == Kind::kI8) {
                w = (p.bytes[static_cast<size_t>((j / 16 * (inputs / 4) + input / 4) * 64 + j % 16 * 4 + input % 4)] -
                     128) *
                    static_cast<double>(p.scales[static_cast<size_t>(j)]);
                bound += 0.008 * std::fabs(w);
              }
              want += w * static_cast<double>(p.x[static_cast<size_t>(at * p.x_stride + c)]);
            }
          }
          const double value = got[static_cast<size_t>(r * l.n + j)];
          CHECK(std::fabs(want - value) <= bound, "%s row %d output %d: %g, want %g", kNames[static_cast<int>(kind)], r,
                j, value, want);
        }
      }
    }
}

template <class F>
double best_us(F f) {
  double best = 1e30;
  for (int round = 0; round < 30; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i) f();
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count() / 5);
  }
  return best;
}

void bench(const Kernels& k) {
  const Layer layers[] = {{80, 256, 7, 1, 1, 3, 86, 86},
                          {80, 256, 7, 1, 1, 3, 10, 4},
                          {256, 256, 5, 1, 1, 2, 86, 86},
                          {256, 256, 5, 1, 1, 2, 8, 4}};
  for (const Layer& layer : layers) {
    for (Kind kind : kKinds) {
      Layer l = layer;
      if (kind >= Kind::kDepthwise) l.n = l.channels;  // each channel alone
      const Problem p(kind, l, k);
      std::vector<float> y(static_cast<size_t>(l.rows * l.n));
      double us = best_us([&] { p.run(k, 0, l.rows, p.epilogue(1), y.data()); });
      double quantize = 0;
      if (kind == Kind::kI8) {
        quantize = best_us([&] {
          k.quantize_rows(p.x.data(), p.x_stride, l.length, l.channels, p.q.data(), p.q_stride, p.row_scale.data(),
                          p.sum.data());
        });
      }
      const double macs = static_cast<double>(l.rows) * l.n * l.taps * (kind == Kind::kDepthwise ? 1 : l.channels);
      std::printf("%-10s %-9s %3d -> %3d, %d taps, %2d rows: %8.2f us + %.2f us to quantize, %7.1f GMAC/s\n", k.isa,
                  kNames[static_cast<int>(kind)], l.channels, l.n, l.taps, l.rows, us, quantize,
                  1e-3 * macs / (us + quantize));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Kernels* const* tables = usable_kernels();
  const Kernels& ref = *tables[0];
  const bool timing = argc > 1 && std::strcmp(argv[1], "--bench") == 0;
  if (!timing) test_reference(ref);
  for (const Kernels* const* k = tables + 1; *k != nullptr; ++k) {
    if (timing) {
      bench(**k);
    } else {
      test_random(ref, **k);
    }
  }
  if (const Kernels* k = timing ? nullptr : avxvnni_in_evex()) test_random(ref, *k);
  return timing ? 0 : check::summary();
}
