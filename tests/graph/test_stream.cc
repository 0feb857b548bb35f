// Chunked execution, and whole runs in parts, against whole runs, bit for bit: random towers, chunk sizes, thread
// counts, instruction sets.
#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "graph/parts.h"
#include "graph/random_net.h"
#include "graph/session.h"
#include "graph/stream.h"

using namespace pocketuni;
using build::RandomNet;

namespace {

using Value = RandomNet::Value;
using Attributes = std::vector<Attribute>;

Attributes window(RandomNet& net, int taps, int stride, int dilation) {
  const int span = (taps - 1) * dilation;
  int left = span / 2, right = span - span / 2;
  if (net.pick(0, 3) == 0) left = span, right = 0;  // causal
  if (net.pick(0, 7) == 0) left = net.pick(0, span + 2), right = net.pick(0, span + 2);
  return {{"stride", int64_t{stride}},
          {"dilation", int64_t{dilation}},
          {"pad_left", int64_t{left}},
          {"pad_right", int64_t{right}}};
}

/// Whether a convolution with these attributes keeps the number of rows.
bool keeps_rows(const Attributes& a, int taps) {
  const auto number = [&](size_t i) { return std::get<int64_t>(a[i].value); };
  return number(0) == 1 && number(2) + number(3) == (taps - 1) * number(1);
}

Value convolution(RandomNet& net, const Value& x, int& rates) {
  const int taps = net.pick(1, 7), stride = net.pick(0, 5) == 0 ? net.pick(2, 3) : 1, dilation = net.pick(1, 3);
  Attributes attributes = window(net, taps, stride, dilation);
  const int rate = keeps_rows(attributes, taps) ? x.rate : ++rates;
  if (net.pick(0, 1) == 0) {
    return net.node("depthwise_conv1d",
                    {RandomNet::of(x), net.plain({static_cast<uint32_t>(taps), static_cast<uint32_t>(x.channels)})},
                    x.channels, rate, std::move(attributes));
  }
  const int n = 8 * net.pick(1, 5);
  attributes.push_back({"taps", int64_t{taps}});
  attributes.push_back({"activation", std::string("silu")});
  std::vector<Operand> operands{RandomNet::of(x), net.gemm(n, taps * x.channels, net.pick(0, 1) == 0),
                                net.plain({static_cast<uint32_t>(n)})};
  if (rate == x.rate && n == x.channels) operands.push_back(RandomNet::of(x));
  return net.node("conv1d", operands, n, rate, std::move(attributes));
}

/// Two, three or four rows for each, cut at both ends.
Value transposed(RandomNet& net, const Value& x, int& rates) {
  const int stride = net.pick(1, 4), taps = net.pick(1, 9), count = (taps + stride - 1) / stride,
            n = 8 * net.pick(1, 3);
  return net.node("conv_transpose1d", {RandomNet::of(x), net.gemm(stride * n, count * x.channels, net.pick(0, 1) == 0)},
                  n, ++rates,
                  {{"taps", int64_t{taps}},
                   {"stride", int64_t{stride}},
                   {"cut_left", int64_t{net.pick(0, taps)}},
                   {"cut_right", int64_t{net.pick(taps - count * stride, taps)}}});
}

/// Frames to samples.
Value spectral(RandomNet& net, const Value& x) {
  const int n_fft = net.pick(0, 1) == 0 ? 64 : 128, hop = net.pick(0, 1) == 0 ? 16 : 40;
  const Value bins =
      net.node("linear", {RandomNet::of(x), net.gemm(n_fft + 2, x.channels, false)}, n_fft + 2, x.rate, {});
  return net.node("istft", {RandomNet::of(bins)}, hop, x.rate, {{"n_fft", int64_t{n_fft}}, {"hop", int64_t{hop}}});
}

Value random_node(RandomNet& net, const std::vector<Value>& values, const Value& vector, int& rates) {
  const Value& x = values[static_cast<size_t>(
      net.pick(std::max(0, static_cast<int>(values.size()) - 4), static_cast<int>(values.size()) - 1))];
  const auto same = [](const Value& v) { return RandomNet::of(v); };
  switch (net.pick(0, 10)) {
    case 9:
      return transposed(net, x, rates);
    case 10:
      return spectral(net, x);
    case 0: {
      const int n = 8 * net.pick(1, 6);
      return net.node("linear", {same(x), net.gemm(n, x.channels, net.pick(0, 1) == 0)}, n, x.rate,
                      {{"activation", std::string("gelu")}});
    }
    case 1:
      return net.node("layer_norm", {same(x)}, x.channels, x.rate, {{"eps", 1e-5}});
    case 2:
      return net.node("softmax", {same(x)}, x.channels, x.rate, {});
    case 3: {  // a vector for all rows: scaled by it
      const Value gate =
          net.node("linear", {same(vector), net.gemm(x.channels, vector.channels, false)}, x.channels, -1, {});
      return net.node("mul", {same(x), same(gate)}, x.channels, x.rate, {});
    }
    case 4:
      return net.node("slice", {same(x)}, x.channels / 8 * 8 / 2 / 4 * 4, x.rate,
                      {{"axes", std::vector<int64_t>{2}},
                       {"starts", std::vector<int64_t>{1}},
                       {"ends", std::vector<int64_t>{1 + x.channels / 8 * 8 / 2 / 4 * 4}},
                       {"steps", std::vector<int64_t>{1}}});
    case 5:
    case 6: {  // with another of the same rate
      std::vector<Value> mates;
      for (const Value& v : values) {
        if (v.rate == x.rate) mates.push_back(v);
      }
      const Value& y = mates[static_cast<size_t>(net.pick(0, static_cast<int>(mates.size()) - 1))];
      if (x.channels == y.channels) return net.node("add", {same(x), same(y)}, x.channels, x.rate, {});
      return net.node("concat", {same(x), same(y)}, x.channels + y.channels, x.rate, {{"axis", int64_t{2}}});
    }
    default:
      return convolution(net, x, rates);
  }
}

/// A tower of about so many nodes; its last value and another of the same rate are the outputs.
build::Bytes random_tower(unsigned seed, int nodes) {
  RandomNet net(seed);
  std::vector<Value> values{net.input("a", 16), net.input("b", 8)};
  const Value vector = net.fixed_input("speaker", 12);
  int rates = 0;
  for (int i = 0; i < nodes; ++i) {
    const Value next = random_node(net, values, vector, rates);
    if (next.channels > 0) values.push_back(next);
  }
  std::vector<Value> outputs{values.back()};
  for (const Value& v : values) {
    if (v.rate == outputs[0].rate && v.index != outputs[0].index && v.index > 2) {
      outputs.push_back(v);
      break;
    }
  }
  return net.file(outputs);
}

struct Data {
  TensorType type;
  std::vector<float> values;
  Tensor view() { return {type, values.data()}; }
};

Data random_data(RandomNet& random, Shape shape) {
  Data data{{DType::kF32, std::move(shape)}, {}};
  data.values.resize(static_cast<size_t>(element_count(data.type.shape)));
  for (float& x : data.values) x = random.uniform();
  return data;
}

/// Rows [begin, end) of a [1, rows, channels].
Tensor rows_of(Data& data, int64_t begin, int64_t end) {
  const int64_t channels = data.type.shape[2];
  return {{DType::kF32, {1, end - begin, channels}}, data.values.data() + begin * channels};
}

struct Run {
  std::vector<std::vector<float>> outputs;
  int64_t rows = 0;

  void append(const std::vector<Tensor>& tensors) {
    outputs.resize(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const float* begin = tensors[i].f32();
      const int64_t count = element_count(tensors[i].type.shape);
      if (count > 0) outputs[i].insert(outputs[i].end(), begin, begin + count);
    }
    rows += tensors[0].type.shape[1];
  }
};

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

bool equal(const Run& a, const Run& b) {
  if (a.rows != b.rows || a.outputs.size() != b.outputs.size()) return false;
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    if (a.outputs[i].size() != b.outputs[i].size() ||
        !std::equal(a.outputs[i].begin(), a.outputs[i].end(), b.outputs[i].begin(), same_bits)) {
      return false;
    }
  }
  return true;
}

/// Pushes and pulls in pieces of the sizes that `size` gives; `eager` pulls while rows still come.
Run run_chunks(StreamSession& stream, std::vector<Data>& inputs, int64_t rows, bool eager,
               const std::function<int64_t()>& size) {
  Run run;
  for (int64_t at = 0; at < rows;) {
    const int64_t next = std::min(rows, at + size());
    std::vector<Tensor> pushed;
    for (Data& input : inputs) pushed.push_back(rows_of(input, at, next));
    stream.push(pushed);
    at = next;
    while (eager && stream.rows_ready() > 0) run.append(stream.pull(size()));
  }
  stream.finish();
  do {
    run.append(stream.pull(size()));
  } while (!stream.done());
  return run;
}

void test_random_towers() {
  for (unsigned seed = 0; seed < (check::slow_cpu() ? 15 : 60); ++seed) {
    const build::Bytes file = random_tower(seed, 3 + static_cast<int>(seed % 15));
    const auto model = Model::from_memory(file.data(), file.size());
    RandomNet random(seed + 1000);
    for (const Kernels* const* k = usable_kernels(); *k != nullptr; ++k) {
      for (int threads : {1, 3}) {
        if (threads == 3 && seed % 4 != 0) continue;
        const SessionOptions options{threads, (*k)->isa};
        Session session(model, "net", options);
        StreamSession stream(model, "net", options);
        Data speaker = random_data(random, {1, 1, 12});
        stream.set_fixed("speaker", speaker.view());
        for (int64_t rows : {0, 1, 2, 5, 40, 130}) {
          std::vector<Data> inputs{random_data(random, {1, rows, 16}), random_data(random, {1, rows, 8})};
          Run want;
          want.append(session.run({inputs[0].view(), inputs[1].view(), speaker.view()}));
          for (int64_t size : {1, 3, 16, 50, 1000, 0}) {
            for (bool eager : {false, true}) {
              const auto next = [&] { return size > 0 ? size : int64_t{random.pick(1, 20)}; };
              const Run got = run_chunks(stream, inputs, rows, eager, next);
              CHECK(equal(got, want), "seed %u %s threads %d rows %lld size %lld eager %d: %lld rows, want %lld", seed,
                    (*k)->isa, threads, static_cast<long long>(rows), static_cast<long long>(size), eager,
                    static_cast<long long>(got.rows), static_cast<long long>(want.rows));
              stream.reset();
            }
          }
        }
      }
    }
  }
}

/// Runs long sequences as a whole and in parts; the number of runs that were cut.
int compare_parts(const std::shared_ptr<const Model>& model, const Kernels* kernels, int threads,
                  const std::vector<int64_t>& lengths, const std::function<std::vector<Data>(int64_t)>& make_inputs) {
  const Model::Tower& tower = model->tower(0);
  ThreadPool pool(threads);
  Lane lane(tower, kernels, &pool);
  Parts parts(tower, kernels, &pool);
  int cut = 0;
  for (int64_t rows : lengths) {
    std::vector<Data> inputs = make_inputs(rows);
    std::vector<Tensor> views;
    std::vector<const void*> data;
    for (Data& input : inputs) views.push_back(input.view()), data.push_back(input.values.data());
    const std::vector<Tensor>* outputs = parts.run({rows}, views, lane, nullptr);
    if (outputs == nullptr) continue;
    ++cut;
    Plan& plan = lane.plan({rows});
    lane.run(plan, data, nullptr);
    Run want, got;
    want.append(plan.outputs);
    got.append(*outputs);
    CHECK(equal(got, want), "%s threads %d rows %lld in parts", kernels->isa, threads, static_cast<long long>(rows));
  }
  return cut;
}

void test_parts() {
  int cut = 0, runs = 0;
  for (unsigned seed = 0; seed < (check::slow_cpu() ? 10 : 100); ++seed) {
    const build::Bytes file = random_tower(seed, 3 + static_cast<int>(seed % 15));
    const auto model = Model::from_memory(file.data(), file.size());
    RandomNet random(seed + 2000);
    const std::vector<int64_t> lengths{150, 401, 1024, 2311};
    for (int threads : {2, 3}) {
      runs += static_cast<int>(lengths.size());
      cut += compare_parts(model, choose_kernels(nullptr), threads, lengths, [&](int64_t rows) {
        return std::vector<Data>{random_data(random, {1, rows, 16}), random_data(random, {1, rows, 8}),
                                 random_data(random, {1, 1, 12})};
      });
    }
  }
  CHECK(cut > runs / 2, "%d of %d runs were cut", cut, runs);
}

Attributes same_window(int taps) { return {{"pad_left", int64_t{taps / 2}}, {"pad_right", int64_t{taps / 2}}}; }

void test_windows() {
  RandomNet net(1);
  const Value x = net.input("x", 8);
  const Value a = net.node("depthwise_conv1d", {RandomNet::of(x), net.plain({7, 8})}, 8, 0, same_window(7));
  const Value b = net.node("depthwise_conv1d", {RandomNet::of(a), net.plain({5, 8})}, 8, 0, same_window(5));
  const Value c = net.node("add", {RandomNet::of(b), RandomNet::of(x)}, 8, 0, {});
  const build::Bytes file = net.file({c});
  StreamSession stream(Model::from_memory(file.data(), file.size()), "net");
  CHECK(stream.lookahead() == 5, "lookahead %lld", static_cast<long long>(stream.lookahead()));
  CHECK(stream.receptive_field() == 11, "receptive field %lld", static_cast<long long>(stream.receptive_field()));
  CHECK(stream.time_dim() == "frames");
  Data rows = random_data(net, {1, 20, 8});
  stream.push({rows_of(rows, 0, 5)});
  CHECK(stream.rows_ready() == 0);
  stream.push({rows_of(rows, 5, 6)});
  CHECK(stream.rows_ready() == 1);
  CHECK(stream.pull(0)[0].type.shape[1] == 0);
  CHECK(stream.pull(9)[0].type.shape[1] == 1);
  CHECK(!stream.done());
  stream.finish();
  CHECK(stream.rows_ready() == 5);
  CHECK(stream.pull(9)[0].type.shape[1] == 5);
  CHECK(stream.done());
}

void test_mel() {
  RandomNet net(4);
  const Value samples = net.samples("samples");
  const Value mel = net.node(
      "mel_spectrogram", {RandomNet::of(samples)}, 20, 0,
      {{"n_fft", int64_t{128}}, {"hop", int64_t{32}}, {"mels", int64_t{20}}, {"rate", 8000.0}, {"floor", 1e-4}});
  const Value out = net.node("depthwise_conv1d", {RandomNet::of(mel), net.plain({5, 20})}, 20, 0, same_window(5));
  const build::Bytes file = net.file({out});
  const auto model = Model::from_memory(file.data(), file.size());
  for (const Kernels* const* k = usable_kernels(); *k != nullptr; ++k) {
    const int cut = compare_parts(model, *k, 2, {4000, 10007},
                                  [&](int64_t count) { return std::vector<Data>{random_data(net, {1, count})}; });
    CHECK(cut == 2, "%s: %d of 2 runs were cut", (*k)->isa, cut);
    const SessionOptions options{1, (*k)->isa};
    Session session(model, "net", options);
    StreamSession stream(model, "net", options);
    for (int64_t count : {0, 1, 31, 32, 40, 64, 100, 1000, 1023}) {
      Data data = random_data(net, {1, count});
      Run want, got;
      want.append(session.run({data.view()}));
      for (int64_t at = 0; at < count;) {
        const int64_t next = std::min<int64_t>(count, at + net.pick(1, 100));
        stream.push({{{DType::kF32, {1, next - at}}, data.values.data() + at}});
        got.append(stream.pull(3));
        at = next;
      }
      stream.finish();
      do {
        got.append(stream.pull(3));
      } while (!stream.done());
      CHECK(equal(got, want), "%s mel of %lld samples", (*k)->isa, static_cast<long long>(count));
      stream.reset();
    }
  }
}

template <typename F>
void check_throws(const char* part, F body) {
  try {
    body();
    CHECK(false, "no error, expected '%s'", part);
  } catch (const Error& error) {
    CHECK(std::strstr(error.what(), part) != nullptr, "'%s' is not in '%s'", part, error.what());
  }
}

void test_errors() {
  RandomNet net(2);
  const Value x = net.input("x", 8), s = net.fixed_input("s", 8);
  const Value y = net.node("mul", {RandomNet::of(x), RandomNet::of(s)}, 8, 0, {});
  const build::Bytes file = net.file({y});
  StreamSession stream(Model::from_memory(file.data(), file.size()), "net");
  Data rows = random_data(net, {1, 4, 8}), narrow = random_data(net, {1, 4, 7}), two = random_data(net, {2, 4, 8});
  Data vector = random_data(net, {1, 1, 8});
  check_throws("'s' has no time and must be set first", [&] { stream.push({rows.view()}); });
  check_throws("no input 'z'", [&] { stream.set_fixed("z", vector.view()); });
  check_throws("'x' has time", [&] { stream.set_fixed("x", rows.view()); });
  stream.set_fixed("s", vector.view());
  check_throws("takes rows of 1 inputs, got 0", [&] { stream.push({}); });
  check_throws("dimension 2 is 7, expected 8", [&] { stream.push({narrow.view()}); });
  check_throws("dimension 0 is 2, expected 1", [&] { stream.push({two.view()}); });
  stream.push({rows.view()});
  check_throws("cannot change within a sequence", [&] { stream.set_fixed("s", vector.view()); });
  check_throws("dimension 2 is 7, expected 8", [&] { stream.push({narrow.view()}); });
  check_throws("cannot pull -1", [&] { stream.pull(-1); });
  stream.finish();
  check_throws("is finished", [&] { stream.push({rows.view()}); });
  CHECK(stream.rows_ready() == 4);

  RandomNet whole(3);
  const Value in = whole.input("x", 8);
  const Value out = whole.node("softmax", {RandomNet::of(in)}, 8, 0, {{"axis", int64_t{1}}});
  const build::Bytes bad = whole.file({out});
  const auto model = Model::from_memory(bad.data(), bad.size());
  check_throws("node 'softmax0' (softmax): a row of its result depends on the whole sequence",
               [&] { StreamSession(model, "net"); });
}

}  // namespace

int main() {
  test_windows();
  test_errors();
  test_mel();
  test_random_towers();
  test_parts();
  return check::summary();
}
