// Which class makes which operator. Each family's file defines its makers; registry.cc lists them by name.
#pragma once
#include <memory>
#include <vector>

#include "ops/attributes.h"

namespace pocketuni {

using Inputs = std::vector<InputInfo>;
using Axes = std::vector<int>;
using OpMaker = std::unique_ptr<Op> (*)(const NodeSpec& node, Attributes& attributes, const Inputs& inputs);

std::unique_ptr<Op> make_linear(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_conv(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_depthwise_conv(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_conv_transpose1d(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_istft(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_mel_spectrogram(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_embedding(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_norm(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_softmax(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_attention(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_matmul(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_unary(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_not(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_arithmetic(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_compare(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_where(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_reduce(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_reshape(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_squeeze(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_expand(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_iota(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_cast(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_transpose(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_concat(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_slice(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_gather(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_pool(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_pool2d(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_resample(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_recurrent(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_argmax(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_topk(const NodeSpec&, Attributes&, const Inputs&);
std::unique_ptr<Op> make_expert_linear(const NodeSpec&, Attributes&, const Inputs&);

}  // namespace pocketuni
