#include "fft_tables.h"

#include <cmath>

namespace pocketuni {
namespace {

constexpr double kPi = 3.14159265358979323846;

}  // namespace

FftTables::FftTables(int size) : size_(size) {
  const int quarter = size / 4;
  for (int s = 1; s * 4 <= size; s *= 4) {
    for (int power = 1; power <= 3; ++power) {
      for (int part = 0; part < 2; ++part) {
        for (int i = 0; i < quarter; ++i) {  // sub-transforms of size / s numbers; this is butterfly i / s of one
          const double angle = -2 * kPi * power * (i / s) * s / size;
          twiddles_.push_back(static_cast<float>(part == 0 ? std::cos(angle) : std::sin(angle)));
        }
      }
    }
  }
  for (int k = 0; k < size; ++k) turn_.push_back(static_cast<float>(std::cos(kPi * k / size)));
  for (int k = 0; k < size; ++k) turn_.push_back(static_cast<float>(std::sin(kPi * k / size)));
}

}  // namespace pocketuni
