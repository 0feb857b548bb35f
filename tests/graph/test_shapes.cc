// Which graphs open and which sizes they take: refused at open only what no size can make work, and at a run what that
// run's sizes do not suit, with expected and got.
#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "format/build_file.h"
#include "graph/session.h"

using namespace pocketuni;
using build::Bytes;

namespace {

constexpr Dim kA = -2, kB = -3;  // the named dimensions
using Dims = std::vector<Dim>;

/// A tower under construction; inputs and results are float32 unless said otherwise.
class Graph {
 public:
  Graph() { tower_.name = "net", tower_.named_dims = {"a", "b"}, parts_.meta = "{}"; }
  Operand input(const std::string& name, Dims dims, DType dtype = DType::kF32) {
    tower_.inputs.push_back(static_cast<uint32_t>(tower_.values.size()));
    tower_.values.push_back({name, dtype, std::move(dims)});
    return {Operand::kValue, tower_.inputs.back()};
  }
  Operand zeros(std::vector<uint32_t> dims) {
    uint64_t bytes = 4;
    for (uint32_t dim : dims) bytes *= dim;
    const uint64_t offset = parts_.data.size();
    parts_.data.resize((offset + bytes + 63) / 64 * 64);
    parts_.tensors.push_back({"t" + std::to_string(parts_.tensors.size()), 0, std::move(dims), offset, bytes});
    return {Operand::kTensor, static_cast<uint32_t>(parts_.tensors.size() - 1)};
  }
  Operand node(const std::string& op, std::vector<Operand> operands, Dims dims, std::vector<Attribute> attributes = {},
               DType dtype = DType::kF32) {
    const auto result = static_cast<uint32_t>(tower_.values.size());
    tower_.values.push_back({"v" + std::to_string(result), dtype, std::move(dims)});
    tower_.nodes.push_back({op, op, std::move(operands), {result}, std::move(attributes)});
    tower_.outputs = {result};
    return {Operand::kValue, result};
  }
  std::shared_ptr<const Model> open() {
    parts_.towers = {tower_};
    bytes_ = build::assemble(parts_);
    return Model::from_memory(bytes_.data(), bytes_.size());
  }

 private:
  TowerSpec tower_;
  build::FileParts parts_;
  Bytes bytes_;  // of the model, which reads them as long as it lives
};

Attribute list(const char* name, std::vector<int64_t> numbers) { return {name, std::move(numbers)}; }
Attribute number(const char* name, int64_t value) { return {name, value}; }

template <typename F>
std::string fault_of(Status status, F body) {
  try {
    body();
  } catch (const Error& error) {
    CHECK(error.status() == status, "status %d: %s", static_cast<int>(error.status()), error.what());
    return error.what();
  }
  return "";
}

/// Runs on zeros and returns the shape of the result.
Shape run(const std::shared_ptr<const Model>& model, const std::vector<Shape>& shapes) {
  SessionOptions options;
  options.threads = 1;
  Session session(model, "net", options);
  std::vector<std::vector<float>> storage;
  std::vector<Tensor> inputs;
  for (const Shape& shape : shapes) {
    storage.emplace_back(static_cast<size_t>(element_count(shape)) + 1);
    inputs.push_back({{DType::kF32, shape}, storage.back().data()});
  }
  return session.run(inputs)[0].type.shape;
}

void check_runs(Graph& graph, const std::vector<Shape>& shapes, const Shape& result) {
  const std::string fault = fault_of(Status::kOk, [&] {
    const Shape got = run(graph.open(), shapes);
    CHECK(got == result, "expected %s, got %s", shape_text(result).c_str(), shape_text(got).c_str());
  });
  CHECK(fault.empty(), "%s", fault.c_str());
}

void check_fault(const std::string& fault, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    CHECK(fault.find(part) != std::string::npos, "expected '%s' in '%s'", part.c_str(), fault.c_str());
  }
}

void check_not_run(Graph& graph, const std::vector<Shape>& shapes, const std::vector<std::string>& parts) {
  std::shared_ptr<const Model> model;
  CHECK(fault_of(Status::kOk, [&] { model = graph.open(); }).empty());
  if (model) check_fault(fault_of(Status::kInvalidArgument, [&] { run(model, shapes); }), parts);
}

void check_refused(Graph& graph, const std::vector<std::string>& parts) {
  const std::string fault = fault_of(Status::kFormat, [&] { graph.open(); });
  CHECK(!fault.empty(), "it opens, expected '%s'", parts[0].c_str());
  check_fault(fault, parts);
  check_fault(fault, {"<memory>: tower 'net': node '"});
}

/// Positions are added to a sequence: a table of 8 rows takes sequences of up to 8.
void test_position_table() {
  Graph graph;
  const Operand x = graph.input("x", {kA, kB, 4});
  const Operand rows = graph.node("slice", {graph.zeros({8, 4})}, {-1, 4},
                                  {list("axes", {0}), list("starts", {0}), list("ends", {kB}), list("steps", {1})});
  graph.node("add", {x, rows}, {kA, kB, 4});
  check_runs(graph, {{3, 8, 4}}, {3, 8, 4});
  check_runs(graph, {{2, 5, 4}}, {2, 5, 4});
  check_not_run(
      graph, {{3, 9, 4}},
      {"tower 'net' does not take a = 3, b = 9: node 'add' (add): ", "[3, 9, 4] and [8, 4] do not broadcast"});
}

void test_multiples() {
  for (int64_t factor : {4, 7, 17, 100, 1000}) {
    Graph graph;
    const Operand x = graph.input("x", {kA, kB});
    graph.node("reshape", {x}, {kA, -1, factor}, {list("shape", {kA, -1, factor})});
    check_runs(graph, {{2, 3 * factor}}, {2, 3, factor});
    check_not_run(graph, {{2, 3 * factor + 1}},
                  {"does not take a = 2, b = " + std::to_string(3 * factor + 1), "which does not reshape to [2, -1, "});
  }
}

/// Whole, and where only the product of two dimensions is given, or one times a constant.
void test_single_sizes() {
  for (uint32_t size : {1u, 5u, 77u, 1000u, 123457u}) {
    Graph graph;
    graph.node("add", {graph.input("x", {kA, kB}), graph.zeros({size, 1})}, {size, kB});
    check_runs(graph, {{size, 2}}, {size, 2});
    if (size != 1) check_not_run(graph, {{size + 1, 2}}, {"a = " + std::to_string(size + 1), "do not broadcast"});
  }
  Graph both;
  both.node("add", {both.input("x", {kA, kB}), both.zeros({37, 1003})}, {37, 1003});
  check_runs(both, {{37, 1003}}, {37, 1003});
  check_runs(both, {{1, 1003}}, {37, 1003});
  check_not_run(both, {{37, 37}}, {"a = 37, b = 37"});
  Graph product;
  product.node("reshape", {product.input("x", {kA, kB, 6})}, {77, 6, 4}, {list("shape", {77, 6, 4})});
  check_runs(product, {{4, 77, 6}}, {77, 6, 4});
  check_not_run(product, {{4, 76, 6}}, {"a = 4, b = 76", "[4, 76, 6], which does not reshape to [77, 6, 4]"});
  Graph quotient;
  quotient.node("reshape", {quotient.input("x", {kA, 6})}, {12, 10}, {list("shape", {12, 10})});
  check_runs(quotient, {{20, 6}}, {12, 10});
}

/// A result that is fixed in the file, of an operator that computes with sizes.
void test_fixed_results() {
  Graph graph;
  graph.node("depthwise_conv1d", {graph.input("x", {kA, kB, 4}), graph.zeros({3, 4})}, {kA, 1499, 4},
             {number("stride", 160)});
  check_runs(graph, {{1, 1498 * 160 + 3, 4}}, {1, 1499, 4});
  check_not_run(graph, {{1, 480, 4}},
                {"its result 'v1' comes out as float32 [1, 3, 4]", "expected float32 [1, 1499, 4]"});
  Graph square;
  square.node("relu", {square.input("x", {kA, 4})}, {4, kA});
  check_runs(square, {{4, 4}}, {4, 4});
  check_not_run(square, {{2, 4}}, {"float32 [2, 4], which is not what the file says: expected float32 [4, 2]"});
}

/// What is computed keeps its size from node to node: a fault that it has for all sizes is found.
void test_computed_dimensions() {
  Graph right;
  Operand x = right.input("x", {kA, kB, 4});
  Operand y = right.node("depthwise_conv1d", {x, right.zeros({5, 4})}, {-1, -1, -1});
  y = right.node("relu", {y}, {-1, -1, -1});
  right.node("add", {y, y}, {kA, -1, 4});
  check_runs(right, {{2, 9, 4}}, {2, 5, 4});

  Graph wrong;
  x = wrong.input("x", {kA, kB, 4});
  y = wrong.node("depthwise_conv1d", {x, wrong.zeros({5, 4})}, {-1, -1, -1});
  wrong.node("add", {y, wrong.zeros({5})}, {-1, -1, -1});
  check_refused(wrong, {"node 'add' (add): shapes [", ", 4] and [5] do not broadcast"});

  // Rows that are few for all small sizes do not count as constant.
  Graph late;
  x = late.input("x", {kA, 2000, 4});
  y = late.node("slice", {late.input("y", {kA, kB, 4})}, {-1, -1, -1},
                {list("axes", {1}), list("starts", {5000}), list("ends", {INT64_MAX}), list("steps", {1})});
  late.node("add", {x, y}, {kA, 2000, 4});
  check_runs(late, {{1, 2000, 4}, {1, 7000, 4}}, {1, 2000, 4});
}

void test_refused() {
  Graph inner;
  inner.node("add", {inner.input("x", {kA, kB, 4}), inner.zeros({5})}, {kA, kB, 5});
  check_refused(inner, {"shapes [2, 3, 4] and [5] do not broadcast"});
  Graph types;
  types.node("add", {types.input("x", {kA}), types.input("y", {kA}, DType::kI64)}, {kA});
  check_refused(types, {"operands are float32 and int64"});
  Graph rank;
  rank.node("relu", {rank.input("x", {kA, 4})}, {kA});
  check_refused(rank, {"float32 [2, 4], which is not what the file says: expected float32 [2]"});
  Graph dtype;
  dtype.node("relu", {dtype.input("x", {kA})}, {kA}, {}, DType::kI32);
  check_refused(dtype, {"expected int32 [2]"});
  Graph named;
  named.node("concat", {named.input("x", {kA, kB}), named.input("y", {kA, kB})}, {kA, kB}, {number("axis", 1)});
  check_refused(named, {"comes out as float32 [2, 6], which is not what the file says: expected float32 [2, 3]"});
  Graph indivisible;
  indivisible.node("reshape", {indivisible.input("x", {kA, 6})}, {77, 5}, {list("shape", {77, 5})});
  check_refused(indivisible, {"x is [2, 6], which does not reshape to [77, 5]"});
  Graph fixed;
  fixed.node("add", {fixed.input("x", {3, 4}), fixed.zeros({2, 4})}, {3, 4});
  check_refused(fixed, {"shapes [3, 4] and [2, 4] do not broadcast"});
}

void test_slices() {
  const auto cut = [](Graph& graph, std::vector<int64_t> axes, std::vector<int64_t> starts,
                      std::vector<int64_t> steps) {
    const std::vector<int64_t> ends(axes.size(), INT64_MAX);
    graph.node("slice", {graph.input("x", {kA, 4})}, {-1, 4},
               {list("axes", std::move(axes)), list("starts", std::move(starts)), list("ends", ends),
                list("steps", std::move(steps))});
  };
  Graph twice, far;
  cut(twice, {0, -2}, {3, 3}, {1, 1});  // would begin at row 6
  check_refused(twice, {"an axis is named twice"});
  cut(far, {0}, {2}, {INT64_MAX});
  check_runs(far, {{5, 4}}, {1, 4});
}

void test_reductions() {
  Graph twice;
  twice.node("reduce_sum", {twice.input("x", {kA, 4})}, {kA}, {list("axes", {1, -1})});
  check_refused(twice, {"node 'reduce_sum' (reduce_sum): an axis is named twice"});
}

/// Many nodes that suit no size soon, many names: opening does not take long, whatever the file says.
void test_effort_is_bounded() {
  Graph graph;
  Operand x = graph.input("x", {kA, kB, -2, -3, -2, -3});
  for (int i = 0; i < 300; ++i) {
    x = graph.node(
        "add", {x, graph.zeros(i % 2 ? std::vector<uint32_t>{1009, 1, 1, 1} : std::vector<uint32_t>{1013, 1, 1, 1, 1})},
        {-1, -1, -1, -1, -1, -1});
  }
  const auto start = std::chrono::steady_clock::now();
  fault_of(Status::kFormat, [&] { graph.open(); });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK(seconds < 10, "%.1f s", seconds);
}

}  // namespace

int main() {
  test_position_table();
  test_multiples();
  test_slices();
  test_reductions();
  test_single_sizes();
  test_fixed_results();
  test_computed_dimensions();
  test_refused();
  test_effort_is_bounded();
  return check::summary();
}
