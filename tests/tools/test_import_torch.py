"""Graphs of the PyTorch importer, evaluated, against the modules themselves; fused and not."""

import copy
import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")

from pocketuni_tools.evaluate import evaluate  # noqa: E402
from pocketuni_tools.fuse import fuse  # noqa: E402
from pocketuni_tools.import_torch import import_torch  # noqa: E402
from pocketuni_tools.ir import UnsupportedOp  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

BATCH_TIME = {0: "batch", 1: "time"}


@pytest.fixture(autouse=True)
def no_traces():
    """torch.export traces itself through `logging`, and pytest would format and keep every record."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


def compare(module, example, dynamic, other_sizes=None, tolerance=1e-5):
    """The graph gives what the module gives, on the example and on other sizes of the dynamic dimensions."""
    torch.manual_seed(3)
    module = module.eval()
    graph = import_torch(module, example, dynamic)
    fused = fuse(copy.deepcopy(graph))
    for inputs in [example, *([other_sizes] if other_sizes else [])]:
        arrays = {name: inputs[name].numpy() for name in graph.inputs}
        with torch.no_grad():
            wanted = module(**inputs)
        wanted = wanted if isinstance(wanted, (tuple, list)) else [wanted]
        for result in (evaluate(graph, arrays), evaluate(fused, arrays)):
            for name, tensor in zip(graph.outputs, wanted, strict=True):
                np.testing.assert_allclose(result[name], tensor.numpy(), rtol=tolerance, atol=tolerance)
    return fused


def ops(graph):
    return [node.op for node in graph.nodes]


class Encoder(nn.Module):
    """PyTorch's own encoder with a padding mask and positions."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 32)
        self.places = nn.Parameter(torch.randn(20, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids, mask):
        x = self.table(ids) + self.places[: ids.shape[1]]
        return self.layers(x, src_key_padding_mask=mask == 0)


def test_transformer_encoder_with_padding():
    ids = torch.arange(14).reshape(2, 7)
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    other = {"ids": torch.arange(9).reshape(3, 3), "mask": torch.ones(3, 3, dtype=torch.int64)}
    dynamic = {"ids": BATCH_TIME, "mask": BATCH_TIME}
    fused = compare(Encoder(), {"ids": ids, "mask": mask}, dynamic, other, 2e-5)
    assert ops(fused).count("attention") == 2
    assert not set(ops(fused)) & {"softmax", "matmul", "expand", "gelu", "relu", "where", "not", "reshape", "transpose"}
    assert {node.inputs[1] for node in fused.nodes if node.op == "attention"} == {"mask"}  # q, k and v are packed


class Attending(nn.Module):
    """nn.MultiheadAttention as it is called most: with its weights, which nobody reads, or without."""

    def __init__(self, weights, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, **options)
        self.weights = weights

    def forward(self, x):
        return x + self.attention(x, x, x, need_weights=self.weights)[0]


@pytest.mark.parametrize("weights", [True, False], ids=["weights", "no weights"])
def test_multihead_attention_is_three_nodes(weights):
    fused = compare(
        Attending(weights, batch_first=True),
        {"x": torch.randn(2, 7, 32)},
        {"x": BATCH_TIME},
        {"x": torch.randn(5, 3, 32)},
    )
    assert ops(fused) == ["linear", "attention", "linear"]
    assert fused.nodes[1].attributes["packed"] == 1 and fused.nodes[1].attributes["heads"] == 4
    assert len(fused.nodes[2].inputs) == 4  # the residual


def test_multihead_attention_with_time_first_is_turned_once():
    dynamic = {"x": {0: "time", 1: "batch"}}
    fused = compare(Attending(False), {"x": torch.randn(7, 2, 32)}, dynamic, {"x": torch.randn(3, 5, 32)})
    assert ops(fused) == ["linear", "transpose", "attention", "linear", "transpose", "add"]
    assert fused.nodes[2].attributes["packed"] == 1


class Crossing(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x, y):
        return self.attention(x, y, y, need_weights=False)[0]


def test_attention_to_another_sequence():
    dynamic = {"x": BATCH_TIME, "y": {0: "batch", 1: "keys"}}
    sizes = [{"x": torch.randn(b, t, 32), "y": torch.randn(b, k, 32)} for b, t, k in ((2, 7, 5), (3, 1, 4))]
    fused = compare(Crossing(), sizes[0], dynamic, sizes[1])
    assert ops(fused) == ["linear", "linear", "slice", "slice", "attention", "linear"]


@pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
def test_transformer_encoder_layer_is_seven_nodes(norm_first):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    fused = compare(encoder, {"src": torch.randn(2, 7, 32)}, {"src": BATCH_TIME}, {"src": torch.randn(5, 3, 32)}, 2e-5)
    body = ["linear", "attention", "linear"], ["linear", "linear"]
    expected = [*body[0], "layer_norm", *body[1], "layer_norm"]
    if norm_first:
        expected = ["layer_norm", *body[0], "layer_norm", *body[1]]
    assert ops(fused) == expected * 2
    assert all(node.attributes["packed"] == 1 for node in fused.nodes if node.op == "attention")


class Grouped(nn.Module):
    """Grouped queries with separate projections, causal, RMS norm and a gated MLP, as in decoders."""

    def __init__(self, causal=True):
        super().__init__()
        self.causal = causal
        self.norm = nn.RMSNorm(32, eps=1e-6)
        self.q, self.k, self.v = nn.Linear(32, 32), nn.Linear(32, 16), nn.Linear(32, 16)
        self.out = nn.Linear(32, 32, bias=False)
        self.gate, self.up, self.down = nn.Linear(32, 48), nn.Linear(32, 48), nn.Linear(48, 32)

    def forward(self, x):
        batch, time, _ = x.shape
        y = self.norm(x)
        q = self.q(y).view(batch, time, 4, 8).transpose(1, 2)
        k, v = (proj(y).view(batch, time, 2, 8).transpose(1, 2) for proj in (self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time, 32))
        return x + self.down(functional.silu(self.gate(x)) * self.up(x))


def test_grouped_causal_attention_and_gated_mlp():
    fused = compare(Grouped(), {"x": torch.randn(2, 6, 32)}, {"x": BATCH_TIME}, {"x": torch.randn(1, 9, 32)})
    assert ops(fused) == ["rms_norm", "linear", "attention", "linear", "linear", "linear", "mul", "linear"]
    packed = next(node for node in fused.nodes if node.op == "attention")
    assert packed.attributes["kv_heads"] == 2 and packed.attributes["causal"] == 1 and packed.attributes["packed"] == 1


class Spelled(nn.Module):
    """Attention, layer norm and gelu written out by hand."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.ModuleList([nn.Linear(32, 32) for _ in range(3)])
        self.out = nn.Linear(32, 32)
        self.gamma, self.beta = nn.Parameter(torch.randn(32)), nn.Parameter(torch.randn(32))
        self.wide, self.narrow = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x, mask):
        batch, time, _ = x.shape
        q, k, v = (layer(x).view(batch, time, 4, 8).permute(0, 2, 1, 3) for layer in self.qkv)
        scores = q @ k.transpose(-1, -2) / 8**0.5 + (1 - mask[:, None, None].float()) * -10000.0
        y = (scores.softmax(-1) @ v).permute(0, 2, 1, 3).reshape(batch, time, 32)
        x = x + self.out(y)
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).pow(2).mean(-1, keepdim=True)
        x = self.gamma * (x - mean) / torch.sqrt(variance + 1e-6) + self.beta
        y = self.wide(x)
        y = 0.5 * y * (1 + torch.erf(y / 2**0.5))
        return x + self.narrow(y)


def test_hand_written_block_is_fused_like_a_library_one():
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    example = {"x": torch.randn(2, 5, 32), "mask": mask}
    fused = compare(Spelled(), example, {"x": BATCH_TIME, "mask": BATCH_TIME}, tolerance=3e-5)
    assert ops(fused) == ["linear", "attention", "linear", "layer_norm", "linear", "linear"]
    assert fused.nodes[1].inputs[1] == "mask"


class Mlp(nn.Module):
    def __init__(self, activation, norm):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(24, 40), activation, nn.Dropout(0.5), nn.Linear(40, 24))
        self.norm = norm

    def forward(self, x):
        return self.norm(x + self.layers(x))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU("tanh"), nn.Tanh(), nn.Sigmoid(), nn.Mish(), nn.ELU(0.7)])
def test_mlp(activation):
    norm = nn.LayerNorm(24, eps=1e-3)
    fused = compare(Mlp(activation, norm), {"x": torch.randn(3, 24)}, {"x": {0: "rows"}}, {"x": torch.randn(7, 24)})
    assert ops(fused)[0] == "linear" and ops(fused)[-2:] == ["linear", "layer_norm"]


class Indexing(nn.Module):
    def forward(self, x, ids):
        part = x[:, 1:, ::2]
        picked = torch.index_select(x, 2, torch.tensor([3, 0, 3]))
        table = torch.arange(40.0).reshape(10, 4)
        rows = table[ids]
        joined = torch.cat([part.mean(1), picked[:, 0], rows[:, 0]], dim=1)
        first, second = joined.chunk(2, dim=1)
        return torch.where(first > second.abs().max(), first, second.clamp(-0.5, 2)), x[:, -1].unsqueeze(1)


def test_indexing_joining_and_choosing():
    example = {"x": torch.randn(2, 5, 6), "ids": torch.tensor([[1, 2], [9, 0]])}
    compare(Indexing(), example, {"x": {0: "batch"}, "ids": {0: "batch"}})


class Unit(nn.Module):
    def forward(self, x, mask):
        keep = mask.unsqueeze(-1).float()
        return functional.normalize((x * keep).sum(1) / keep.sum(1).clamp(min=1e-9), dim=1)


def test_mean_pooling_and_unit_length():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    dynamic = {"x": BATCH_TIME, "mask": BATCH_TIME}
    fused = compare(Unit(), {"x": torch.randn(2, 3, 16), "mask": mask}, dynamic)
    assert ops(fused) == ["pool", "l2_normalize"]
    assert fused.nodes[0].inputs == ["x", "mask"]


class Sorting(nn.Module):
    def forward(self, x):
        return torch.relu(x).sort(-1).values


def test_unsupported_operator_names_op_node_and_place():
    with pytest.raises(UnsupportedOp) as caught:
        import_torch(Sorting().eval(), {"x": torch.randn(2, 3)}, {})
    assert caught.value.op == "aten.sort.default" and caught.value.node == "sort"
    assert "call 2 of" in caught.value.position and "test_import_torch.py" in caught.value.position
    assert all(part in str(caught.value) for part in ("aten.sort.default", "'sort'", "call 2"))


def test_training_mode_and_unknown_dynamic_inputs_are_refused():
    with pytest.raises(ValueError, match="training mode"):
        import_torch(nn.Linear(4, 4), {"input": torch.randn(2, 4)}, {})
    with pytest.raises(ValueError, match="'nothing'"):
        import_torch(nn.Linear(4, 4).eval(), {"input": torch.randn(2, 4)}, {"nothing": {0: "rows"}})
