// 16 floats in four q registers; see vec_avx512.h for what the functions promise.
#pragma once
#include <arm_neon.h>

#include <cstdint>

namespace pocketuni {
namespace {

// 6 x 1 vectors are 24 of the 32 registers.
// The last two: of a product of a single row, and of attention of two.
constexpr int kTileRows = 6, kTileVecs = 1, kRowVecs = 2, kPairVecs = 1;

struct Vec {
  float32x4_t q[4];
};

template <class F>
inline Vec each(Vec x, F f) {
  return {{f(x.q[0]), f(x.q[1]), f(x.q[2]), f(x.q[3])}};
}
template <class F>
inline Vec each(Vec x, Vec y, F f) {
  return {{f(x.q[0], y.q[0]), f(x.q[1], y.q[1]), f(x.q[2], y.q[2]), f(x.q[3], y.q[3])}};
}

inline Vec set(float x) { return {{vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x)}}; }
inline Vec load(const float* p) { return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}}; }
inline void store(float* p, Vec x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.q[i]);
}
// Not inlined: for the last lanes of a row a call is short.
__attribute__((noinline, unused)) Vec load_part(const float* p, int n, Vec fill) {
  float lanes[16];
  store(lanes, fill);
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
__attribute__((noinline, unused)) void store_part(float* p, Vec x, int n) {
  float lanes[16];
  store(lanes, x);
  for (int i = 0; i < n; ++i) p[i] = lanes[i];
}

inline Vec operator+(Vec x, Vec y) {
  return each(x, y, [](float32x4_t a, float32x4_t b) { return vaddq_f32(a, b); });
}
inline Vec operator-(Vec x, Vec y) {
  return each(x, y, [](float32x4_t a, float32x4_t b) { return vsubq_f32(a, b); });
}
inline Vec operator*(Vec x, Vec y) {
  return each(x, y, [](float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); });
}
inline Vec operator/(Vec x, Vec y) {
  return each(x, y, [](float32x4_t a, float32x4_t b) { return vdivq_f32(a, b); });
}
inline Vec fma(Vec x, Vec y, Vec z) {
  return {{vfmaq_f32(z.q[0], x.q[0], y.q[0]), vfmaq_f32(z.q[1], x.q[1], y.q[1]), vfmaq_f32(z.q[2], x.q[2], y.q[2]),
           vfmaq_f32(z.q[3], x.q[3], y.q[3])}};
}
// As on x86, y where the two are equal (zeros of either sign) or one is NaN: fmax would make relu(-0) a +0.
inline Vec max(Vec x, Vec y) {
  return each(x, y, [](float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); });
}
inline Vec min(Vec x, Vec y) {
  return each(x, y, [](float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); });
}
inline Vec abs_of(Vec x) {
  return each(x, [](float32x4_t a) { return vabsq_f32(a); });
}
inline Vec sqrt_of(Vec x) {
  return each(x, [](float32x4_t a) { return vsqrtq_f32(a); });
}
inline Vec negated(Vec x) {
  return each(x, [](float32x4_t a) { return vnegq_f32(a); });
}
inline Vec with_sign(Vec x, Vec y) {
  return each(x, y, [](float32x4_t a, float32x4_t b) { return vbslq_f32(vdupq_n_u32(0x80000000u), b, a); });
}
inline Vec floor_of(Vec x) {
  return each(x, [](float32x4_t a) { return vrndmq_f32(a); });
}
inline Vec ceil_of(Vec x) {
  return each(x, [](float32x4_t a) { return vrndpq_f32(a); });
}
inline Vec round_even(Vec x) {
  return each(x, [](float32x4_t a) { return vrndnq_f32(a); });
}

inline Vec if_less(Vec x, Vec y, Vec yes, Vec no) {
  Vec out;
  for (int i = 0; i < 4; ++i) out.q[i] = vbslq_f32(vcltq_f32(x.q[i], y.q[i]), yes.q[i], no.q[i]);
  return out;
}
inline Vec if_nan(Vec x, Vec yes, Vec no) {
  Vec out;
  for (int i = 0; i < 4; ++i) out.q[i] = vbslq_f32(vceqq_f32(x.q[i], x.q[i]), no.q[i], yes.q[i]);
  return out;
}
inline Vec first(int n, Vec x, Vec y) {
  static const int32_t iota[4] = {0, 1, 2, 3};
  Vec out;
  for (int i = 0; i < 4; ++i) {
    out.q[i] = vbslq_f32(vcltq_s32(vld1q_s32(iota), vdupq_n_s32(n - 4 * i)), x.q[i], y.q[i]);
  }
  return out;
}

inline Vec power_of_two(Vec x) {
  return each(x, [](float32x4_t a) { return vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(a), 23)); });
}

inline float sum(Vec x) {
  const float32x4_t a = vaddq_f32(vaddq_f32(x.q[0], x.q[2]), vaddq_f32(x.q[1], x.q[3]));
  const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
  return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}
inline float largest(Vec x) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.q[0], x.q[2]), vmaxq_f32(x.q[1], x.q[3]))); }

inline Vec load_quads(const float* p0, const float* p1, const float* p2, const float* p3) {
  return {{vld1q_f32(p0), vld1q_f32(p1), vld1q_f32(p2), vld1q_f32(p3)}};
}
inline void transpose_quads(Vec* x) {
  for (int i = 0; i < 4; ++i) {
    const float32x4x2_t a = vtrnq_f32(x[0].q[i], x[1].q[i]), b = vtrnq_f32(x[2].q[i], x[3].q[i]);
    x[0].q[i] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    x[1].q[i] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    x[2].q[i] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    x[3].q[i] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
  }
}

struct Ints {
  uint32x4_t q[4];
};
template <class F>
inline Ints each(Ints x, Ints y, F f) {
  return {{f(x.q[0], y.q[0]), f(x.q[1], y.q[1]), f(x.q[2], y.q[2]), f(x.q[3], y.q[3])}};
}
inline Ints repeat(int32_t x) {
  const uint32x4_t v = vdupq_n_u32(static_cast<uint32_t>(x));
  return {{v, v, v, v}};
}
inline Ints load_ints(const void* p) {
  Ints x;
  for (int i = 0; i < 4; ++i) x.q[i] = vreinterpretq_u32_u8(vld1q_u8(static_cast<const uint8_t*>(p) + 16 * i));
  return x;
}
inline void store_ints(void* p, Ints x) {
  for (int i = 0; i < 4; ++i) vst1q_u8(static_cast<uint8_t*>(p) + 16 * i, vreinterpretq_u8_u32(x.q[i]));
}
inline Ints operator-(Ints x, Ints y) {
  return each(x, y, [](uint32x4_t a, uint32x4_t b) { return vsubq_u32(a, b); });
}
inline Ints operator&(Ints x, Ints y) {
  return each(x, y, [](uint32x4_t a, uint32x4_t b) { return vandq_u32(a, b); });
}
inline Ints operator|(Ints x, Ints y) {
  return each(x, y, [](uint32x4_t a, uint32x4_t b) { return vorrq_u32(a, b); });
}
inline Ints operator^(Ints x, Ints y) {
  return each(x, y, [](uint32x4_t a, uint32x4_t b) { return veorq_u32(a, b); });
}
inline Ints larger(Ints x, Ints y) {
  return each(x, y, [](uint32x4_t a, uint32x4_t b) { return vmaxq_u32(a, b); });
}
inline Ints shift_up(Ints x, int bits) {
  return each(x, x, [bits](uint32x4_t a, uint32x4_t) { return vshlq_u32(a, vdupq_n_s32(bits)); });
}
inline Ints shift_down(Ints x, int bits) { return shift_up(x, -bits); }
inline Ints bits_of(Vec x) {
  Ints bits;
  for (int i = 0; i < 4; ++i) bits.q[i] = vreinterpretq_u32_f32(x.q[i]);
  return bits;
}
inline Vec floats_of(Ints bits) {
  Vec x;
  for (int i = 0; i < 4; ++i) x.q[i] = vreinterpretq_f32_u32(bits.q[i]);
  return x;
}
inline Vec to_floats(Ints x) {
  Vec y;
  for (int i = 0; i < 4; ++i) y.q[i] = vcvtq_f32_s32(vreinterpretq_s32_u32(x.q[i]));
  return y;
}

inline Vec from_i8(const int8_t* p) {
  const int16x8_t a = vmovl_s8(vld1_s8(p)), b = vmovl_s8(vld1_s8(p + 8));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(a))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(a))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(b))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(b)))}};
}
inline Vec from_f16(const uint16_t* p) {
  Vec out;
  for (int i = 0; i < 4; ++i) out.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
  return out;
}

}  // namespace
}  // namespace pocketuni
