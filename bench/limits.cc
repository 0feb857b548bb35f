// What this machine can do, and how near the kernels come to it, as one JSON object: peaks of integer and float
// products, bandwidth of reading, int8 products of 32 to 512 rows and int4 products of one row from memory.
//
//     cmake -S . -B build/bench -DPOCKETUNI_TESTS=ON && cmake --build build/bench --target limits && build/bench/limits
//
// Figures are the best of many rounds, each shorter than a turn of the scheduler.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "base/thread_pool.h"
#include "kernels/cpu.h"
#include "kernels/kernels.h"

namespace pocketuni {
namespace {

template <typename F>
double best_seconds(int rounds, F run) {
  double best = 1e9;
  for (int i = 0; i <= rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (i > 0) best = std::min(best, took.count());  // the first warms up
  }
  return best;
}

constexpr std::align_val_t kAlign{size_t{2} << 20};  // a large page

/// Memory that is aligned and was written, so that it is there.
struct Bytes {
  size_t size;
  std::unique_ptr<uint8_t, void (*)(uint8_t*)> data;
  explicit Bytes(size_t n) : size(n), data(new (kAlign) uint8_t[n], [](uint8_t* p) { operator delete[](p, kAlign); }) {
#if defined(__linux__)
    madvise(data.get(), n, MADV_HUGEPAGE);  // as the library reads models that speak step by step
#endif
    for (size_t i = 0; i < n; ++i) data.get()[i] = static_cast<uint8_t>(i * 37 % 113);
  }
};

volatile float sink;

#if defined(__x86_64__)
// Twelve chains of one instruction, so that none waits for another, in registers that start as zeros.
constexpr int kChains = 12;
constexpr long kSteps = 100'000;
#define CHAIN(op, r, n) op " %%" r "0, %%" r "1, %%" r #n "\n\t"
#define CHAINS(op, r) \
  CHAIN(op, r, 2)     \
  CHAIN(op, r, 3)     \
  CHAIN(op, r, 4)     \
  CHAIN(op, r, 5)     \
  CHAIN(op, r, 6)     \
  CHAIN(op, r, 7) CHAIN(op, r, 8) CHAIN(op, r, 9) CHAIN(op, r, 10) CHAIN(op, r, 11) CHAIN(op, r, 12) CHAIN(op, r, 13)
#define LOOP(op, r)                                                                                                 \
  long steps = kSteps;                                                                                              \
  __asm__ volatile("vzeroall\n1:\n\t" CHAINS(op, r) "dec %0\n\tjnz 1b"                                              \
                   : "+r"(steps)                                                                                    \
                   :                                                                                                \
                   : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                     "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

void dots() { LOOP("vpdpbusd", "zmm"); }
void multiply_adds_512() { LOOP("vfmadd231ps", "zmm"); }
void multiply_adds_256() { LOOP("vfmadd231ps", "ymm"); }

#define TILES __attribute__((target("amx-tile,amx-int8")))
constexpr long kTileRounds = 10'000;

// Four products of tiles that do not wait for each other, all 16 x 64 by 64 x 16.
TILES void multiply_tiles() {
  for (long i = 0; i < kTileRounds; ++i) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
}

TILES double tile_gops() {
  alignas(64) uint8_t shapes[64] = {1};
  for (int tile = 0; tile < 8; ++tile) {
    shapes[16 + 2 * tile] = 64;
    shapes[48 + tile] = 16;
  }
  _tile_loadconfig(shapes);  // all tiles are zeros then
  const double seconds = best_seconds(200, multiply_tiles);
  _tile_release();
  return 2.0 * 16 * 64 * 16 * 4 * kTileRounds / seconds * 1e-9;
}

void print_peaks(const Kernels& kernels) {
  if (std::strcmp(kernels.isa, "amx") == 0) std::printf("  \"tile_peak_gops\": %.0f,\n", tile_gops());
  const bool wide = __builtin_cpu_supports("avx512f") != 0;
  const double operations = 2.0 * kChains * kSteps * 1e-9;
  if (__builtin_cpu_supports("avx512vnni") != 0) {
    std::printf("  \"int8_peak_gops\": %.0f,\n", 64 * operations / best_seconds(200, dots));
  }
  const double seconds = best_seconds(200, wide ? multiply_adds_512 : multiply_adds_256);
  std::printf("  \"float_peak_gflops\": %.0f,\n", (wide ? 16 : 8) * operations / seconds);
}
#else
void print_peaks(const Kernels&) {}
#endif

/// Reads all of it; gives something that depends on every byte.
#if defined(__x86_64__)
__attribute__((target("avx2"))) float read_all(const uint8_t* at, size_t size) {
  __m256i sums[4] = {};
  for (size_t i = 0; i < size; i += sizeof sums) {
    for (int k = 0; k < 4; ++k) {
      sums[k] = _mm256_xor_si256(sums[k], _mm256_load_si256(reinterpret_cast<const __m256i*>(at + i) + k));
    }
  }
  const __m256i sum = _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
  return static_cast<float>(_mm256_cvtsi256_si32(sum));
}
#else
float read_all(const uint8_t* at, size_t size) {
  uint64_t sums[16] = {};
  for (size_t i = 0; i < size; i += sizeof sums) {
    uint64_t words[16];
    std::memcpy(words, at + i, sizeof words);
    for (int k = 0; k < 16; ++k) sums[k] ^= words[k];
  }
  return static_cast<float>(sums[0] ^ sums[15]);
}
#endif

/// Gigabytes a second that `threads` read of memory that no cache holds: each round another part.
double bandwidth(const Bytes& memory, int threads) {
  constexpr size_t kPart = size_t{32} << 20;
  ThreadPool pool(threads);
  const size_t share = kPart / static_cast<size_t>(threads);
  size_t part = 0;
  const double seconds = best_seconds(60, [&] {
    const uint8_t* from = memory.data.get() + part * kPart;
    part = (part + 1) % (memory.size / kPart);
    pool.parallel(threads, [&](int index, int) { sink = read_all(from + share * static_cast<size_t>(index), share); });
  });
  return static_cast<double>(kPart) / seconds * 1e-9;
}

/// Rows of 8-bit numbers, as `quantize_rows` leaves them.
struct Rows {
  std::vector<int8_t> q;
  std::vector<float> scale;
  std::vector<int32_t> sum;
  QuantizedRows view;
  Rows(int rows, int k)
      : q(static_cast<size_t>(rows) * static_cast<size_t>(k), 3),
        scale(static_cast<size_t>(rows), 1.0f),
        sum(q.size() / kGroup, 3 * kGroup),
        view{q.data(), k, scale.data(), sum.data()} {}
};

double gemm_gops(const Kernels& kernels, int rows) {
  constexpr int kInputs = 1024, kOutputs = 1024;
  const Bytes weights(static_cast<size_t>(kInputs) * kOutputs);
  const Rows x(rows, kInputs);
  const std::vector<float> scales(kOutputs, 1.0f);
  std::vector<float> y(static_cast<size_t>(rows) * kOutputs);
  const Epilogue plain;
  const double seconds = best_seconds(40, [&] {
    kernels.gemm_i8(&x.view, rows, kInputs, weights.data.get(), scales.data(), kOutputs, &plain, y.data(), kOutputs);
  });
  return 2.0 * rows * kInputs * kOutputs / seconds * 1e-9;
}

/// Gigabytes of int4 weights and scales a second that products of one row with 14336 x 4096 take from memory.
double gemv_bandwidth(const Kernels& kernels, const Bytes& memory, int threads) {
  constexpr int kInputs = 4096, kOutputs = 14336;
  constexpr size_t kWeights = static_cast<size_t>(kInputs) * kOutputs / 2,
                   kScales = static_cast<size_t>(kInputs) / kGroup * kOutputs * 2;
  ThreadPool pool(threads);
  const Rows x(1, kInputs);
  std::vector<float> y(kOutputs);
  const Epilogue plain;
  size_t copy = 0;
  const double seconds = best_seconds(30, [&] {
    const uint8_t* weights = memory.data.get() + copy * (kWeights + kScales);
    copy = (copy + 1) % (memory.size / (kWeights + kScales));
    const auto* scales = reinterpret_cast<const uint16_t*>(weights + kWeights);
    constexpr int kPart = 8 * kPanel;
    pool.parallel(kOutputs / kPart, [&](int index, int) {
      const int n = index * kPart;
      const ptrdiff_t inputs = kInputs;
      kernels.gemm_i4(&x.view, 1, kInputs, weights + n * inputs / 2, scales + n * (inputs / kGroup), kPart, &plain,
                      y.data() + n, kOutputs);
    });
  });
  return static_cast<double>(kWeights + kScales) / seconds * 1e-9;
}

}  // namespace
}  // namespace pocketuni

int main() {
  using namespace pocketuni;
  const Kernels* fastest = default_kernels(nullptr);
  if (fastest == nullptr) {
    std::fprintf(stderr, "limits: POCKETUNI_ISA names no instruction set of this machine\n");
    return 1;
  }
  const Kernels& kernels = *fastest;
  const Bytes memory(size_t{512} << 20);
  const int cpus = usable_cpus();
  std::printf("{\n  \"isa\": \"%s\",\n", kernels.isa);
  print_peaks(kernels);
  for (int threads = 1; threads <= std::min(cpus, 2); ++threads) {
    std::printf("  \"read_gb_s_%d\": %.1f,\n", threads, bandwidth(memory, threads));
    std::printf("  \"int4_gemv_gb_s_%d\": %.1f,\n", threads, gemv_bandwidth(kernels, memory, threads));
  }
  for (const int rows : {32, 64, 128, 256, 512}) {
    std::printf("  \"int8_gemm_gops_%d\": %.0f%s\n", rows, gemm_gops(kernels, rows), rows < 512 ? "," : "\n}");
  }
}
