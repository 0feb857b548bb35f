#include "ops/registry.h"

#include <string>

#include "base/error.h"

namespace pocketuni {
namespace {

struct Entry {
  const char* name;
  OpMaker make;
  size_t min_inputs, max_inputs;
};

const Entry kEntries[] = {
    {"linear", make_linear, 2, 4},
    {"conv1d", make_conv, 2, 4},
    {"conv2d", make_conv, 2, 4},
    {"depthwise_conv1d", make_depthwise_conv, 2, 3},
    {"depthwise_conv2d", make_depthwise_conv, 2, 3},
    {"conv_transpose1d", make_conv_transpose1d, 2, 3},
    {"istft", make_istft, 1, 1},
    {"mel_spectrogram", make_mel_spectrogram, 1, 1},
    {"embedding", make_embedding, 2, 2},
    {"layer_norm", make_norm, 1, 3},
    {"rms_norm", make_norm, 1, 2},
    {"l2_normalize", make_norm, 1, 1},
    {"softmax", make_softmax, 1, 1},
    {"log_softmax", make_softmax, 1, 1},
    {"attention", make_attention, 1, 4},
    {"matmul", make_matmul, 2, 2},
    {"relu", make_unary, 1, 1},
    {"gelu", make_unary, 1, 1},
    {"silu", make_unary, 1, 1},
    {"tanh", make_unary, 1, 1},
    {"sigmoid", make_unary, 1, 1},
    {"erf", make_unary, 1, 1},
    {"exp", make_unary, 1, 1},
    {"log", make_unary, 1, 1},
    {"sqrt", make_unary, 1, 1},
    {"rsqrt", make_unary, 1, 1},
    {"neg", make_unary, 1, 1},
    {"abs", make_unary, 1, 1},
    {"reciprocal", make_unary, 1, 1},
    {"sin", make_unary, 1, 1},
    {"cos", make_unary, 1, 1},
    {"floor", make_unary, 1, 1},
    {"ceil", make_unary, 1, 1},
    {"round", make_unary, 1, 1},
    {"softplus", make_unary, 1, 1},
    {"elu", make_unary, 1, 1},
    {"leaky_relu", make_unary, 1, 1},
    {"hard_sigmoid", make_unary, 1, 1},
    {"hard_swish", make_unary, 1, 1},
    {"mish", make_unary, 1, 1},
    {"clip", make_unary, 1, 1},
    {"not", make_not, 1, 1},
    {"add", make_arithmetic, 2, 2},
    {"sub", make_arithmetic, 2, 2},
    {"mul", make_arithmetic, 2, 2},
    {"div", make_arithmetic, 2, 2},
    {"pow", make_arithmetic, 2, 2},
    {"minimum", make_arithmetic, 2, 2},
    {"maximum", make_arithmetic, 2, 2},
    {"equal", make_compare, 2, 2},
    {"less", make_compare, 2, 2},
    {"less_equal", make_compare, 2, 2},
    {"greater", make_compare, 2, 2},
    {"greater_equal", make_compare, 2, 2},
    {"and", make_compare, 2, 2},
    {"or", make_compare, 2, 2},
    {"where", make_where, 3, 3},
    {"reduce_sum", make_reduce, 1, 1},
    {"reduce_mean", make_reduce, 1, 1},
    {"reduce_max", make_reduce, 1, 1},
    {"reduce_min", make_reduce, 1, 1},
    {"reduce_prod", make_reduce, 1, 1},
    {"reshape", make_reshape, 1, 1},
    {"squeeze", make_squeeze, 1, 1},
    {"unsqueeze", make_squeeze, 1, 1},
    {"expand", make_expand, 1, 1},
    {"iota", make_iota, 0, 0},
    {"cast", make_cast, 1, 1},
    {"transpose", make_transpose, 1, 1},
    {"concat", make_concat, 1, 1 << 16},
    {"slice", make_slice, 1, 1},
    {"gather", make_gather, 2, 2},
    {"pool", make_pool, 1, 2},
    {"pool2d", make_pool2d, 1, 1},
    {"resample", make_resample, 3, 3},
    {"gru", make_recurrent, 2, 4},
    {"lstm", make_recurrent, 2, 6},
    {"rnn", make_recurrent, 2, 4},
    {"argmax", make_argmax, 1, 1},
    {"topk", make_topk, 1, 1},
    {"expert_linear", make_expert_linear, 3, 4},
};

}  // namespace

std::unique_ptr<Op> make_op(const NodeSpec& node, const std::vector<InputInfo>& inputs) {
  Attributes attributes(node);
  try {
    for (const Entry& entry : kEntries) {
      if (node.op != entry.name) continue;
      if (inputs.size() < entry.min_inputs || inputs.size() > entry.max_inputs) {
        fail_argument(std::to_string(inputs.size()) + " operands, expected " + std::to_string(entry.min_inputs) +
                      " to " + std::to_string(entry.max_inputs));
      }
      if (node.outputs.size() != 1) fail_argument(std::to_string(node.outputs.size()) + " results, expected 1");
      std::unique_ptr<Op> op = entry.make(node, attributes, inputs);
      attributes.finish();
      return op;
    }
    fail_argument("this version does not know the operator; update pocketuni");
  } catch (const Error& error) {
    fail_format(attributes.where() + ": " + error.what());
  }
}

}  // namespace pocketuni
