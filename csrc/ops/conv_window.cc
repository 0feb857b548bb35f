#include "ops/conv_window.h"

#include "base/error.h"

namespace pocketuni {
namespace {

constexpr int64_t kMost = 1 << 20;

void check_range(const char* name, int64_t value, int64_t low) {
  if (value < low || value > kMost) {
    fail_argument(std::string(name) + " is " + std::to_string(value) + ", expected " + std::to_string(low) +
                  " to 1048576");
  }
}

}  // namespace

void ConvGeometry::check() const {
  check_range("taps", taps, 1);
  check_range("stride", stride, 1);
  check_range("dilation", dilation, 1);
  check_range("pad_left", pad_left, 0);
  check_range("pad_right", pad_right, 0);
}

ConvGeometry ConvGeometry::parse(Attributes& attributes, int64_t taps) {
  const ConvGeometry g{taps, attributes.integer("stride", 1), attributes.integer("dilation", 1),
                       attributes.integer("pad_left", 0), attributes.integer("pad_right", 0)};
  g.check();
  return g;
}

PictureGeometry PictureGeometry::parse(Attributes& attributes) {
  const std::vector<int64_t> kernel = attributes.list("kernel"), stride = attributes.list("stride"),
                             dilation = attributes.list("dilation"), pads = attributes.list("pads");
  if (kernel.size() != 2 || stride.size() != 2 || dilation.size() != 2 || pads.size() != 4) {
    fail_argument("kernel, stride and dilation are not two numbers each, or pads are not four");
  }
  const PictureGeometry g{{kernel[0], stride[0], dilation[0], pads[0], pads[2]},
                          {kernel[1], stride[1], dilation[1], pads[1], pads[3]}};
  g.down.check();
  g.across.check();
  if (kernel[0] > kMostLines) fail_argument("a kernel of more than " + std::to_string(kMostLines) + " lines");
  return g;
}

void check_conv_input(const InputInfo& x, int64_t channels) {
  expect_float(x, "x");
  const Shape& shape = x.type.shape;
  if (shape.size() != 3 || shape[2] != channels || shape[1] > (1 << 30)) {
    fail_argument("x is " + shape_text(shape) + ", expected [batch, time, " + std::to_string(channels) + "]");
  }
}

void check_picture(const InputInfo& x, int64_t channels) {
  expect_float(x, "x");
  const Shape& shape = x.type.shape;
  if (shape.size() != 4 || (channels >= 0 && shape[3] != channels) || shape[1] > (1 << 30) || shape[2] > (1 << 30)) {
    fail_argument("x is " + shape_text(shape) + ", expected [batch, height, width, " +
                  (channels < 0 ? "channels" : std::to_string(channels)) + "]");
  }
}

void check_optional(const Inputs& in, size_t index, const Shape& shape, const char* role) {
  if (index >= in.size() || !in[index].present) return;
  expect_float(in[index], role);
  if (in[index].type.shape != shape) {
    fail_argument(std::string(role) + " is " + shape_text(in[index].type.shape) + ", expected " + shape_text(shape));
  }
}

const float* optional_data(const RunContext& context, size_t index) {
  return index < context.inputs.size() ? context.inputs[index].f32() : nullptr;
}

}  // namespace pocketuni
