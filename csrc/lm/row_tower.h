// A tower that works on rows of floats: named inputs [1, rows, width] in, named outputs out.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "graph/session.h"

namespace pocketuni {

/// A view of rows, and how many there are. Valid until the next run of the tower it came from.
struct Rows {
  const float* data = nullptr;
  size_t count = 0;
};

/// Not thread-safe.
class RowTower {
 public:
  /// The first input may be integers without a width, `ids` [1, rows]. Throws Error(kInvalidArgument) when the tower is
  /// missing or has others than these inputs and outputs.
  RowTower(const std::shared_ptr<const Model>& model, const std::string& name, const SessionOptions& options,
           const std::vector<const char*>& inputs, const std::vector<const char*>& outputs);

  static bool exists(const Model& model, const std::string& name);

  size_t input_width(size_t input) const { return input_widths_[input]; }
  size_t output_width(size_t output) const { return output_widths_[output]; }
  const std::string& name() const { return session_.spec().name; }
  const TowerSpec& spec() const { return session_.spec(); }

  /// Data of each input, in the order given, all of `rows` rows.
  void run(const std::vector<const void*>& inputs, size_t rows);
  Rows output(size_t output) const;

 private:
  Session session_;
  std::vector<size_t> input_widths_, output_widths_;
  std::vector<size_t> input_places_, output_places_;  // in the tower, of each name
  std::vector<Tensor> tensors_;
  const std::vector<Tensor>* results_ = nullptr;
};

/// Throws Error(kInvalidArgument) naming both towers when what one gives is not what another takes.
void check_widths(const RowTower& from, size_t output, const RowTower& to, size_t input);

}  // namespace pocketuni
