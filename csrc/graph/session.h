// Runs one tower of a model: binds input shapes, plans memory once per set of shapes, executes the nodes.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "format/model_file.h"
#include "ops/op.h"

namespace pocketuni {

/// A verified model with its ops made: immutable, shared by sessions. Opening checks shapes of every graph.
class Model {
 public:
  static std::shared_ptr<const Model> open(const std::string& path);
  static std::shared_ptr<const Model> from_memory(const void* data, size_t size);
  ~Model();

  const ModelFile& file() const { return *file_; }
  /// Index of a tower; throws Error(kInvalidArgument) listing the names there are.
  size_t tower_index(const std::string& name) const;

  struct Tower;
  const Tower& tower(size_t index) const { return *towers_[index]; }

 private:
  explicit Model(std::shared_ptr<const ModelFile> file);
  static std::shared_ptr<const Model> make(std::shared_ptr<const ModelFile> file);
  std::shared_ptr<const ModelFile> file_;
  std::map<uint32_t, std::vector<float>> widened_;  // by tensor: half-precision constants as float
  std::vector<std::unique_ptr<Tower>> towers_;
};

struct SessionOptions {
  int threads = 0;            ///< 0: as many as this process may use
  const char* isa = nullptr;  ///< null: the fastest, or POCKETUNI_ISA
};

/// The kernels that the options ask for; throws Error(kInvalidArgument) listing the usable ones.
const Kernels* choose_kernels(const char* isa);

struct OpProfile {
  std::string name, op;
  double seconds = 0;  ///< summed over profiled runs
  uint64_t runs = 0;
};

/// One caller at a time (the API layers lock); sessions over one model are independent of each other.
class Session {
 public:
  Session(std::shared_ptr<const Model> model, const std::string& tower, const SessionOptions& options = {});
  /// Over a tower made of one of the model's, with the threads of a pool that several sessions use in turn. Tower and
  /// pool outlive the session.
  Session(std::shared_ptr<const Model> model, const Model::Tower& tower, const Kernels* kernels, ThreadPool& pool);
  ~Session();

  const TowerSpec& spec() const;
  const char* isa() const;
  int threads() const;

  /// `inputs` in the order of spec().inputs, row-major; read during the call only. Throws Error(kInvalidArgument) with
  /// name, expected and got for a wrong dtype, rank or size. A dimension of 0 gives results with 0 elements.
  /// The outputs, in the order of spec().outputs, are views valid until the next run.
  const std::vector<Tensor>& run(const std::vector<Tensor>& inputs);

  void set_profiling(bool on);
  std::vector<OpProfile> profile() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pocketuni
