// Random towers along one dimension `frames`, for tests of chunked execution: convolutions, products, norms, branches
// that meet again with different delays, vectors without time.
#pragma once
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "format/build_file.h"

namespace build {

class RandomNet {
 public:
  explicit RandomNet(unsigned seed) : rng_(seed) {
    tower_.name = "net", tower_.named_dims = {"frames"}, parts_.meta = "{}";
  }

  struct Value {
    uint32_t index;
    int channels;
    int rate;  // values of one rate have as many rows
  };

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }
  float uniform() { return std::uniform_real_distribution<float>(-1, 1)(rng_); }

  Value input(const std::string& name, int channels) {
    const Value value = add_value(name, {1, -2, channels}, channels, 0);
    tower_.inputs.push_back(value.index);
    return value;
  }
  /// [1, frames]: a number for each.
  Value samples(const std::string& name) {
    const Value value = add_value(name, {1, -2}, 1, 0);
    tower_.inputs.push_back(value.index);
    return value;
  }
  Value fixed_input(const std::string& name, int channels) {
    const Value value = add_value(name, {1, 1, channels}, channels, -1);
    tower_.inputs.push_back(value.index);
    return value;
  }

  Value node(const std::string& op, std::vector<pocketuni::Operand> operands, int channels, int rate,
             std::vector<pocketuni::Attribute> attributes) {
    const int64_t rows = rate < 0 ? 1 : -1;
    const Value value = add_value("v" + std::to_string(tower_.values.size()), {1, rows, channels}, channels, rate);
    tower_.nodes.push_back(
        {op, op + std::to_string(tower_.nodes.size()), std::move(operands), {value.index}, std::move(attributes)});
    return value;
  }

  static pocketuni::Operand of(const Value& value) { return {pocketuni::Operand::kValue, value.index}; }
  static pocketuni::Operand none() { return {pocketuni::Operand::kAbsent, 0}; }

  /// A constant of random floats.
  pocketuni::Operand plain(std::vector<uint32_t> dims) {
    size_t count = 1;
    for (uint32_t dim : dims) count *= dim;
    std::vector<float> data(count);
    for (float& x : data) x = uniform();
    return tensor(0, std::move(dims), data.data(), count * sizeof(float));
  }

  /// A random matrix [n, k] in panels, of floats or of bytes with scales.
  pocketuni::Operand gemm(int n, int k, bool bytes) {
    const size_t panels = static_cast<size_t>((n + 15) / 16);
    const float size = 1.0f / static_cast<float>(k);
    const std::vector<uint32_t> dims{static_cast<uint32_t>(n), static_cast<uint32_t>(k)};
    if (!bytes) {
      std::vector<float> data(panels * static_cast<size_t>(k) * 16);
      for (float& x : data) x = uniform() * 3 * size;
      return tensor(16, dims, data.data(), data.size() * sizeof(float));
    }
    const size_t quads = static_cast<size_t>((k + 3) / 4);
    Bytes data(panels * 64 + panels * quads * 64, 128);
    for (size_t i = 0; i < panels * 16; ++i) {
      const float scale = i < static_cast<size_t>(n) ? size / 40 : 0;
      std::memcpy(data.data() + i * 4, &scale, 4);
    }
    for (size_t i = 0; i < panels * quads * 64; ++i) {
      const size_t lane = i / (quads * 64) * 16 + i / 4 % 16, input = i / 64 % quads * 4 + i % 4;
      if (lane < static_cast<size_t>(n) && input < static_cast<size_t>(k)) {
        data[panels * 64 + i] = static_cast<uint8_t>(pick(1, 255));
      }
    }
    return tensor(18, dims, data.data(), data.size());
  }

  Bytes file(const std::vector<Value>& outputs) {
    for (const Value& value : outputs) tower_.outputs.push_back(value.index);
    parts_.towers = {tower_};
    return assemble(parts_);
  }

 private:
  Value add_value(const std::string& name, std::vector<int64_t> dims, int channels, int rate) {
    tower_.values.push_back({name, pocketuni::DType::kF32, std::move(dims)});
    return {static_cast<uint32_t>(tower_.values.size() - 1), channels, rate};
  }

  pocketuni::Operand tensor(uint8_t encoding, std::vector<uint32_t> dims, const void* data, size_t size) {
    parts_.data.resize((parts_.data.size() + 63) / 64 * 64);
    parts_.tensors.push_back(
        {"t" + std::to_string(parts_.tensors.size()), encoding, std::move(dims), parts_.data.size(), size});
    const auto* begin = static_cast<const uint8_t*>(data);
    parts_.data.insert(parts_.data.end(), begin, begin + size);
    parts_.data.resize((parts_.data.size() + 63) / 64 * 64);
    return {pocketuni::Operand::kTensor, static_cast<uint32_t>(parts_.tensors.size() - 1)};
  }

  std::mt19937 rng_;
  FileParts parts_;
  pocketuni::TowerSpec tower_;
};

}  // namespace build
