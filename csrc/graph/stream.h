// Runs a tower in chunks along time: rows go in as they come, rows of the results come out as soon as what they depend
// on is there. The results are those of one whole run, bit for bit, whatever the chunks.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/session.h"

namespace pocketuni {

/// For towers made of operators that work row by row along one named dimension, or on a window of rows: see
/// Op::time_map. Nothing is computed twice, and only rows that later ones need are kept, so memory does not grow with
/// the length. One caller at a time; streams over one model are independent of each other.
class StreamSession {
 public:
  /// Throws Error(kInvalidArgument) naming the node that cannot be cut. Dimensions before time must be 1.
  StreamSession(std::shared_ptr<const Model> model, const std::string& tower, const SessionOptions& options = {});
  ~StreamSession();

  const TowerSpec& spec() const;
  const char* isa() const;
  int threads() const;
  const std::string& time_dim() const;
  /// Whether an input has rows along time and is pushed (true), or is set once (false).
  bool is_pushed(uint32_t value) const;
  /// Rows of input that must follow the first one before a result comes.
  int64_t lookahead() const;
  /// Rows of input that a row of the results depends on, itself included.
  int64_t receptive_field() const;

  /// Gives an input that has no time; copied. Before the first push. It stays through reset().
  void set_fixed(const std::string& name, const Tensor& value);
  /// Appends rows: one tensor for each pushed input, in the order of spec().inputs, all with as many rows; copied.
  void push(const std::vector<Tensor>& rows);
  /// No more rows come: what is left of the results, with its zeros behind the end, becomes ready.
  void finish();
  /// Rows of the results that can be pulled now.
  int64_t rows_ready() const;
  /// True when finished and everything has been pulled.
  bool done() const;
  /// Computes and returns the next rows, at most `most` and as many as are ready (maybe none). One view for each
  /// output, valid until the next call of anything but the queries.
  const std::vector<Tensor>& pull(int64_t most);
  /// Forgets the rows and starts a new sequence.
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pocketuni
