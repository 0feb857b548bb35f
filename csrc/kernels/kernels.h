// The kernel contract: one struct of function pointers that every ISA fills or inherits from the reference.
//
// Kernels cannot fail, allocate or lock: sizes were checked by the op that calls them. Strides are in elements. No
// kernel reads past its operands, except that `gemm_*` weights may be read as whole panels (16 outputs), which exist in
// full. Every result for a row depends on that row alone, never on `rows` or on where a block begins.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pocketuni {

enum class Activation : int32_t { kNone, kRelu, kGelu, kGeluTanh, kSilu, kTanh, kSigmoid };

enum class Unary : int32_t {
  kRelu,
  kGelu,
  kGeluTanh,
  kSilu,
  kTanh,
  kSigmoid,
  kErf,
  kExp,
  kLog,
  kSqrt,
  kRsqrt,
  kNeg,
  kAbs,
  kReciprocal,
  kSin,
  kCos,
  kFloor,
  kCeil,
  kRound,
  kSoftplus,
  kElu,
  kLeakyRelu,
  kHardSigmoid,
  kHardSwish,
  kMish,
  kClip,
  kScale  ///< x * alpha + beta
};
enum class Binary : int32_t { kAdd, kSub, kMul, kDiv, kPow, kMin, kMax };
enum class Reduce : int32_t { kSum, kMax, kMin, kProd };

constexpr int kPanel = 16;  ///< outputs per weight tile, on every ISA
constexpr int kGroup = 32;  ///< inputs per int4 scale
/// What is rounded to int8 is as good as zero where its largest magnitude is less: 127 / max could overflow.
constexpr float kSmallestMax = 1e-30f;

/// What happens to an accumulator before it is stored: y = act(acc + bias) + residual.
struct Epilogue {
  const float* bias = nullptr;      // [n], of the first output of the call, or null
  const float* residual = nullptr;  // [rows][n] with its own stride, or null
  ptrdiff_t residual_stride = 0;
  Activation activation = Activation::kNone;
};

/// Activations quantized symmetrically, one scale per row: x = q * scale.
struct QuantizedRows {
  const int8_t* q;     // [rows][q_stride], zero padded up to q_stride
  ptrdiff_t q_stride;  // a multiple of 32, >= k
  const float* scale;  // [rows]
  const int32_t* sum;  // [rows][q_stride / 32]: sums of q over groups of 32
};

/// Tables of a Fourier transform of `size` complex numbers, a power of two from 4 to 65536, made by `FftTables`.
struct FftPlan {
  int size;
  const float* twiddles;  // for each pass of radix 4: six arrays [size / 4], real and imaginary parts of w, w^2, w^3
  const float* turn;      // [size] cosines, then [size] sines of pi k / size: between real and complex transforms
};

/// Which rows of x a convolution reads: output row r, tap j reads row first + r * stride + j * dilation, and zeros
/// where that is outside [0, length).
/// Over a picture, rows are pixels, and these taps repeat for each of `lines`: those of line l read from `line_rows[l]`
/// on, where `length` pixels follow each other; a negative number is a line outside, whose taps count nothing.
struct ConvWindow {
  ptrdiff_t first, length, stride, dilation;
  int taps;           // of one line
  const void* zeros;  // what a row outside is: as many zero bytes as a row of x has
  int lines = 1;
  const ptrdiff_t* line_rows = nullptr;  // [lines]; null: one line from row 0 on

  int all_taps() const { return lines * taps; }
  ptrdiff_t line(int index) const { return line_rows == nullptr ? 0 : line_rows[index]; }
  /// Which row of its line a tap reads for output row r, be it one inside or not.
  ptrdiff_t at(ptrdiff_t r, int tap) const { return first + r * stride + tap * dilation; }
  /// Whether all taps of output rows [r, r + count) lie inside their lines.
  bool has(ptrdiff_t r, ptrdiff_t count) const { return at(r, 0) >= 0 && at(r + count - 1, taps - 1) < length; }
  /// The row of x that a tap of the line from row `base` on reads for output row r; -1 beside the line.
  ptrdiff_t row(ptrdiff_t base, ptrdiff_t r, int tap) const {
    const ptrdiff_t beside = at(r, tap);
    return beside >= 0 && beside < length ? base + beside : -1;
  }
};

/// How 16 channels of a picture are rounded to int8, and what a sum of products is multiplied by.
struct DepthwiseScales {
  float inverse[kPanel];  // 127 / max|x|
  float scale[kPanel];    // max|x| / 127 * the weights' scale
};

/// A line of pixels between zeros, as quads of 64 bytes: quad i holds in int8, for each of 16 channels, the numbers of
/// the line at i and at three places before it, `dilation` apart, the last one last; anything before the line's start.
struct QuadLine {
  int before, pixels, after, dilation;
};

/// Which quads a row of results reads: of each of `count` lines, `quads` that lie quad_step bytes apart.
struct QuadWindow {
  const uint8_t* const* lines;  // [count]: the first quad of row 0
  int count, quads;
  ptrdiff_t quad_step, row_step;
};

struct AttentionArgs {
  const float *q, *k, *v;  // [tq][d], [tk][d], [tk][dv] with strides
  ptrdiff_t q_stride, k_stride, v_stride;
  const float* mask;  // additive: [tq][tk] (stride 0: one row for all), or null
  ptrdiff_t mask_stride;
  float* out;  // [tq][dv]
  ptrdiff_t out_stride;
  int tq, tk, d, dv;
  int causal;  // row i sees keys 0 .. i + (tk - tq)
  float scale;
  float* scratch;  // attention_scratch_floats(tk, d, dv)
};

/// Floats of scratch that one `attention_f32` call needs, the same on every ISA.
inline size_t attention_scratch_floats(int tk, int d, int dv) {
  const size_t keys = (static_cast<size_t>(tk) + kPanel - 1) / kPanel * kPanel;
  const size_t values = (static_cast<size_t>(dv) + kPanel - 1) / kPanel * kPanel;
  return keys * static_cast<size_t>(d) + keys * values + 16 * keys + 64;
}

struct Kernels {
  const char* isa;  ///< "ref", "avx2", "avxvnni", "avx512vnni", "amx", "neon", "neondot"
  /// For so many rounded rows each, threads read all weights sooner than they get what other threads wrote.
  int rows_of_thread = 4;

  /// Row i: scale = max|x| / 127, q = round-half-even(x / scale) as x * (127 / max). A row holding NaN or infinity gets
  /// scale NaN and q = 0; an all-zero row gets scale 0.
  void (*quantize_rows)(const float* x, ptrdiff_t x_stride, int rows, int k, int8_t* q, ptrdiff_t q_stride,
                        float* scale, int32_t* sum);

  /// y[rows][n] = epilogue(x w^T) for outputs [0, n) of the panels given. Pointers are to the first panel.
  void (*gemm_f32)(const float* x, ptrdiff_t x_stride, int rows, int k, const float* tiles, int n,
                   const Epilogue* epilogue, float* y, ptrdiff_t y_stride);
  void (*gemm_f16)(const float* x, ptrdiff_t x_stride, int rows, int k, const uint16_t* tiles, int n,
                   const Epilogue* epilogue, float* y, ptrdiff_t y_stride);
  void (*gemm_i8)(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const float* scales, int n,
                  const Epilogue* epilogue, float* y, ptrdiff_t y_stride);
  /// Groups accumulate in order: acc = fma(float(isum), f32(scale), acc); then y = acc * row scale.
  void (*gemm_i4)(const QuantizedRows* x, int rows, int k, const uint8_t* tiles, const uint16_t* scales, int n,
                  const Epilogue* epilogue, float* y, ptrdiff_t y_stride);

  /// y[rows][n] = epilogue(sum over taps and channels): weights [n][all taps * channels], the channels of a tap
  /// together. One chain of fused multiply-adds over lines, taps, then channels.
  void (*conv_f32)(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels,
                   const float* tiles, int n, const Epilogue* epilogue, float* y, ptrdiff_t y_stride);
  void (*conv_f16)(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels,
                   const uint16_t* tiles, int n, const Epilogue* epilogue, float* y, ptrdiff_t y_stride);
  /// Channels in multiples of 4. Taps accumulate in order: acc = fma(float(isum), scale of the row, acc), where a row
  /// outside counts with a sum and a scale of 0; then y = acc * scales[n].
  void (*conv_i8)(const QuantizedRows* x, const ConvWindow* window, int rows, int channels, const uint8_t* tiles,
                  const float* scales, int n, const Epilogue* epilogue, float* y, ptrdiff_t y_stride);
  /// Depthwise convolutions in int8, up to 16 channels at a time: these four together, of one ISA.
  /// A channel has one scale, max|x| / 127 over all its pixels; it is NaN where one of them is NaN or infinite, and 0
  /// where all are 0. `scales` are the weights' own.
  void (*depthwise_scales)(const float* x, ptrdiff_t x_stride, ptrdiff_t pixels, int channels, const float* scales,
                           DepthwiseScales* to);
  /// A tile of a `gemm_i8` weight [channels][lines * taps] -> 64 bytes of what sums start from, then 64 for every four
  /// taps of a line, as depthwise_i8 reads them.
  void (*depthwise_weights)(const uint8_t* tile, int lines, int taps, uint8_t* quads);
  /// q = round-half-even(x * inverse), the product being exact.
  void (*depthwise_round)(const float* x, ptrdiff_t x_stride, int channels, const QuadLine* line, const float* inverse,
                          uint8_t* quads);
  /// y[rows][channels] = epilogue(float(isum) * scale), without a residual.
  void (*depthwise_i8)(const QuadWindow* window, int rows, int channels, const uint8_t* weights, const float* scale,
                       const Epilogue* epilogue, float* y, ptrdiff_t y_stride);

  /// Each channel alone: weights [all taps][channels], acc = fma(x, w, acc) over the taps; the epilogue's n is
  /// `channels`.
  void (*depthwise_f32)(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels,
                        const float* weights, const Epilogue* epilogue, float* y, ptrdiff_t y_stride);

  /// The largest of the taps' numbers, each channel alone; NaN where one of them is. `zeros` of the window is what a
  /// row outside holds: -infinity, if such rows shall not count. Without taps -infinity.
  void (*max_pool_f32)(const float* x, ptrdiff_t x_stride, const ConvWindow* window, int rows, int channels, float* y,
                       ptrdiff_t y_stride);

  /// Fourier transforms, the same bits on every ISA. Parts are separate arrays; scratch is 4 * size floats.
  /// In place: the sum over n of x[n] exp(-2 pi i k n / size).
  void (*fft_f32)(const FftPlan* plan, float* re, float* im, float* scratch);
  /// 2 * size real samples -> size + 1 bins.
  void (*real_fft_f32)(const FftPlan* plan, const float* samples, float* re, float* im, float* scratch);
  /// size + 1 bins (the imaginary parts of the first and the last count as 0) -> 2 * size samples, scaled by 1 / (2
  /// size).
  void (*real_inverse_f32)(const FftPlan* plan, const float* re, const float* im, float* samples, float* scratch);

  /// B[k][n] (or [n][k] by strides) -> the `gemm_f32` tile order, for products of two activations. Pads with 0.
  void (*pack_f32)(const float* b, ptrdiff_t k_stride, ptrdiff_t n_stride, int k, int n, float* tiles);

  void (*attention_f32)(const AttentionArgs* args);
  /// The same where products of rows rounded to int8 are good enough; attention_f32 itself where they are not faster.
  void (*attention_i8)(const AttentionArgs* args);

  void (*layer_norm_f32)(const float* x, int rows, int dim, const float* gamma, const float* beta, float eps, float* y);
  void (*rms_norm_f32)(const float* x, int rows, int dim, const float* gamma, float eps, float* y);
  void (*softmax_f32)(const float* x, int rows, int dim, float* y);  // an all -inf row gives zeros; NaN gives NaN

  void (*unary_f32)(Unary op, const float* x, float* y, size_t n, float alpha, float beta);  // y may be x
  /// a_step and b_step are 0 (one value for all) or 1. y may be a or b.
  void (*binary_f32)(Binary op, const float* a, int a_step, const float* b, int b_step, float* y, size_t n);
  float (*reduce_f32)(Reduce op, const float* x, size_t n);  // sums in 16 lanes, then pairwise

  void (*dequantize_i8)(const int8_t* q, float scale, int n, float* y);
  void (*dequantize_i4)(const uint8_t* groups, int n, float* y);  // `rows_i4` groups of 18 bytes, n a multiple of 32
  void (*f16_to_f32)(const uint16_t* x, float* y, size_t n);
};

/// The table for an ISA by name, or null when this build or this CPU lacks it.
const Kernels* find_kernels(const char* isa);
/// The fastest usable table, or the one that POCKETUNI_ISA names. An unusable name: null, and `*wanted` is that name.
const Kernels* default_kernels(const char** wanted);
/// All usable tables, `ref` first, slowest to fastest; null-terminated.
const Kernels* const* usable_kernels();

}  // namespace pocketuni
