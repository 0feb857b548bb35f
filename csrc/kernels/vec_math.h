// exp, log, tanh, sigmoid, the normal distribution: over the 16 floats of the vec_*.h that was included before.
//
// Polynomials are minimax fits (iterated least squares, Lawson's weights) made for this project. Where a function is
// clamped, the constant comes first in max and min, so that a NaN in the argument stays.
#pragma once

#if defined(__AVX512DQ__)
#include "gelu_table.h"
#endif

namespace pocketuni {
namespace {

// Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits; + 127 makes these an exponent.
constexpr float kRounder = 12582912.0f + 127.0f;
constexpr float kLog2e = 1.44269504f;

// (e^r - 1) / r for |r| <= ln(2) / 2, relative error of e^r 3e-9.
inline Vec exp_slope(Vec r) {
  Vec p = set(1.38143203e-3f);
  p = fma(p, r, set(8.36885162e-3f));
  p = fma(p, r, set(4.16684002e-2f));
  p = fma(p, r, set(0.166665196f));
  p = fma(p, r, set(0.49999994f));
  return fma(p, r, set(1.0f));
}

// x = n ln(2) + r; `biased` is n + kRounder. ln(2) in two parts, so that n ln(2) is good to the last bit of r.
struct ExpParts {
  Vec biased, r;
};
inline ExpParts exp_parts(Vec x) {
  const Vec biased = fma(x, set(kLog2e), set(kRounder));
  const Vec n = biased - set(kRounder);
  return {biased, fma(n, set(1.90465430e-9f), fma(n, set(-0.693147182f), x))};
}

/// e^x within 2 ULP, denormal results included.
inline Vec exp_of(Vec x) {
  const ExpParts e = exp_parts(min(set(89.0f), max(set(-104.0f), x)));
  const Vec p = fma(exp_slope(e.r), e.r, set(1.0f));
  // 2^n in two factors, for n reaches from -150 to 128.
  const Vec n = e.biased - set(kRounder), half = floor_of(n * set(0.5f));
  return p * power_of_two(half + set(kRounder)) * power_of_two(n - half + set(kRounder));
}

/// e^x for x <= 0; below the normal floats, 0.
inline Vec exp_of_negative(Vec x) {
  const ExpParts e = exp_parts(max(set(-88.0f), x));
  return fma(exp_slope(e.r), e.r, set(1.0f)) * power_of_two(e.biased);
}

/// 2^x for x <= 0, relative error 1.5e-7; below the normal floats, 0.
inline Vec exp2_of_negative(Vec x) {
  x = max(set(-127.0f), x);
  const Vec biased = x + set(kRounder), r = x - (biased - set(kRounder));
  Vec p = set(1.32647005e-3f);
  p = fma(p, r, set(9.67153441e-3f));
  p = fma(p, r, set(5.55073395e-2f));
  p = fma(p, r, set(0.240222424f));
  p = fma(p, r, set(0.693147004f));
  return fma(p, r, set(1.0f)) * power_of_two(biased);
}

/// e^x - 1 for x <= 0; near 0 without the cancellation.
inline Vec expm1_of_negative(Vec x) {
  const ExpParts e = exp_parts(max(set(-88.0f), x));
  const Vec rise = exp_slope(e.r) * e.r;
  return if_less(set(-0.34f), x, rise, (rise + set(1.0f)) * power_of_two(e.biased) - set(1.0f));
}

/// ln((1 + s) / (1 - s)) = 2 atanh(s) for |s| <= 1/3, relative error 5e-9 before rounding.
inline Vec log_of_ratio(Vec s) {
  const Vec z = s * s;
  Vec p = set(0.280120015f);
  p = fma(p, z, set(0.280018032f));
  p = fma(p, z, set(0.400215268f));
  p = fma(p, z, set(0.666664183f));
  return fma(p * z, s, s + s);
}

/// ln(x) within 2 ULP, of denormals too unless the CPU takes them for zeros.
inline Vec log_of(Vec x) {  // x = 2^n m with m from sqrt(1/2) to sqrt(2)
  const Vec zero = set(0.0f), one = set(1.0f), normal = set(1.17549435e-38f);
  const Ints bits = bits_of(if_less(x, normal, x * set(8388608.0f), x));
  const Ints biased = shift_down(bits - repeat(0x3f3504f3 - 0x40000000), 23);  // n + 128
  const Vec n = to_floats(biased) - if_less(x, normal, set(151.0f), set(128.0f));
  const Vec m = floats_of(bits - shift_up(biased, 23) - repeat(-0x40000000));
  const Vec y = fma(n, set(0.693147182f), fma(n, set(-1.90465430e-9f), log_of_ratio((m - one) / (m + one))));
  const Vec at_most_zero = if_less(x, zero, set(__builtin_nanf("")), if_nan(x, x, set(-__builtin_inff())));
  return if_less(zero, x, if_less(x, set(__builtin_inff()), y, x), at_most_zero);
}

/// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
inline Vec softplus_of(Vec x) {
  const Vec e = exp_of_negative(negated(abs_of(x)));
  return max(set(0.0f), x) + log_of_ratio(e / (e + set(2.0f)));
}

/// 1 / (1 + e^-x), with e^-|x| so that small results keep their precision.
inline Vec sigmoid_of(Vec x) {
  const Vec e = exp_of_negative(negated(abs_of(x)));
  return if_less(x, set(0.0f), e, set(1.0f)) / (set(1.0f) + e);
}

inline Vec tanh_of(Vec x) {
  const Vec a = abs_of(x), e = exp_of_negative(a * set(-2.0f)), s = x * x;
  Vec p = set(-5.51510882e-3f);  // (tanh(x) - x) / x^3 for |x| < 0.65, from whence 1 - e would cancel
  p = fma(p, s, set(2.04693694e-2f));
  p = fma(p, s, set(-5.36880083e-2f));
  p = fma(p, s, set(0.133308306f));
  p = fma(p, s, set(-0.333332598f));
  const Vec far = with_sign((set(1.0f) - e) / (set(1.0f) + e), x);
  return if_less(a, set(0.65f), fma(p * s, x, x), far);
}

/// P(N > a) of the standard normal distribution, 0 <= a <= 16, absolute error 4e-8: 2 to the power of a polynomial that
/// was fitted to log2 of it and falls ever faster where the fit ends (a = 5), so there is no second branch or division.
inline Vec normal_tail(Vec a) {
  Vec p = set(-2.33494598e-6f);
  p = fma(p, a, set(3.37377787e-5f));
  p = fma(p, a, set(-1.61293647e-4f));
  p = fma(p, a, set(-1.91703992e-4f));
  p = fma(p, a, set(7.12686591e-3f));
  p = fma(p, a, set(-5.25336154e-2f));
  p = fma(p, a, set(-0.459198296f));
  p = fma(p, a, set(-1.151106f));
  return exp2_of_negative(fma(p, a, set(-1.0f)));
}

/// x P(N < x) = max(x, 0) - |x| P(N > |x|).
#if defined(__AVX512DQ__)  // two registers hold what 32 segments need of a coefficient: half the time of a tail by
                           // powers
inline Vec gelu_of(Vec x) {
  const Vec a = min(set(31.0f * 3.0f / 16.0f), abs_of(x));
  const Vec biased = fma(a, set(16.0f / 3.0f), set(12582912.0f));
  const Vec r = fma(biased - set(12582912.0f), set(-3.0f / 16.0f), a);
  const __m512i segment = _mm512_castps_si512(biased.v);
  const auto coefficient = [segment](int i) -> Vec {
    return {_mm512_permutex2var_ps(_mm512_load_ps(kGeluTail[i]), segment, _mm512_load_ps(kGeluTail[i] + 16))};
  };
  Vec p = coefficient(4);
  p = fma(p, r, coefficient(3));
  p = fma(p, r, coefficient(2));
  p = fma(p, r, coefficient(1));
  return max(set(0.0f), x) - fma(p, r, coefficient(0));
}
#else
inline Vec gelu_of(Vec x) {
  const Vec a = min(set(16.0f), abs_of(x));
  return fma(negated(a), normal_tail(a), max(set(0.0f), x));
}
#endif

inline Vec erf_of(Vec x) {
  const Vec a = min(set(16.0f), abs_of(x) * set(1.41421356f));
  return if_nan(x, x, with_sign(fma(set(-2.0f), normal_tail(a), set(1.0f)), x));
}

// Limits at -inf are 0: the factor x is cut where the other one has vanished.
inline Vec silu_of(Vec x) { return max(set(-128.0f), x) * sigmoid_of(x); }

inline Vec gelu_tanh_of(Vec x) {  // (1 + tanh(u)) / 2 = sigmoid(2 u)
  const Vec inner = x * fma(x * x, set(0.0713548163f), set(1.59576912f));
  return max(set(-128.0f), x) * sigmoid_of(inner);
}

inline Vec mish_of(Vec x) {  // tanh(ln(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2)
  const Vec e = exp_of(min(set(20.0f), x)), m = e * (e + set(2.0f));
  return max(set(-128.0f), x) * (m / (m + set(2.0f)));
}

}  // namespace
}  // namespace pocketuni
