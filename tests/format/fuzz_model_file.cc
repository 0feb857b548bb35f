// libFuzzer target: any bytes are either a model or an Error. With -DPOCKETUNI_FUZZ_RUN the model is also opened as a
// Model and each tower runs once. tests/golden/*.puni are good seeds:
//   fuzz_model_file -max_total_time=60 CORPUS tests/golden
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "format/build_file.h"
#include "format/model_file.h"
#ifdef POCKETUNI_FUZZ_RUN
#include "graph/session.h"
#endif

namespace {

using namespace pocketuni;

#ifdef POCKETUNI_FUZZ_RUN

/// Runs a tower on zeros, every named dimension being `size`. Large activations are skipped: they are no fault.
void run_tower(const std::shared_ptr<const Model>& model, const TowerSpec& tower, int64_t size) {
  constexpr int64_t kMaxElements = 1 << 16;
  SessionOptions options;
  options.threads = 1;
  Session session(model, tower.name, options);
  std::vector<std::vector<uint64_t>> storage;
  std::vector<Tensor> inputs;
  for (uint32_t input : tower.inputs) {
    const ValueSpec& value = tower.values[input];
    Tensor tensor;
    tensor.type.dtype = value.dtype;
    int64_t elements = 1;
    for (Dim dim : value.dims) {
      tensor.type.shape.push_back(dim >= 0 ? dim : size);
      if (tensor.type.shape.back() > kMaxElements) return;
      elements *= tensor.type.shape.back();
      if (elements > kMaxElements) return;
    }
    storage.emplace_back(static_cast<size_t>(elements) + 1);
    tensor.data = storage.back().data();
    inputs.push_back(tensor);
  }
  session.run(inputs);
}

void use(const std::vector<uint8_t>& bytes) {
  const auto model = Model::from_memory(bytes.data(), bytes.size());
  for (const TowerSpec& tower : model->file().towers()) {
    for (int64_t size : {0, 1, 3}) {
      try {
        run_tower(model, tower, size);
      } catch (const Error&) {
      }
    }
  }
}

#else

void use(const std::vector<uint8_t>& bytes) { ModelFile::from_memory(bytes.data(), bytes.size())->verify_weights(); }

#endif

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  // The fuzzer cannot guess hashes; right ones, magic and file size let it reach what lies behind them.
  if (size >= 64) {
    const uint8_t magic[8] = {0x89, 'P', 'U', 'N', 'I', '\r', '\n', 0x1A};
    std::memcpy(bytes.data(), magic, sizeof(magic));
    build::set(bytes, 24, uint64_t{size});
    build::reseal(bytes);
  }
  try {
    use(bytes);
  } catch (const pocketuni::Error&) {
  }
  return 0;
}
