"""Convolutions of PyTorch, imported, against PyTorch: every padding, stride, dilation and grouping."""

import numpy as np
import pytest
from pocketuni_tools.evaluate import evaluate

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from pocketuni_tools.import_torch import import_torch  # noqa: E402
from pocketuni_tools.ir import UnsupportedOp  # noqa: E402

LAYERS = {
    "same": ({"kernel_size": 7, "padding": 3}, ["conv1d"]),
    "same-even": ({"kernel_size": 4, "padding": "same"}, ["conv1d"]),
    "valid": ({"kernel_size": 3, "padding": "valid", "bias": False}, ["conv1d"]),
    "strided": ({"kernel_size": 5, "stride": 3, "padding": 2, "dilation": 2}, ["conv1d"]),
    "groups": ({"kernel_size": 3, "groups": 4}, ["conv1d"]),
    "depthwise": ({"kernel_size": 5, "padding": 4, "dilation": 2, "groups": 8}, ["depthwise_conv1d"]),
    "point": ({"kernel_size": 1}, ["linear"]),
    "point-strided": ({"kernel_size": 1, "stride": 2}, ["conv1d"]),
}


def ops_and_error(module, x):
    graph = import_torch(module.eval(), {"input": x}, {"input": {0: "batch", 2: "time"}})
    (got,) = evaluate(graph, {"input": x.numpy()}).values()
    want = module(x).detach().numpy()
    assert got.shape == want.shape
    return [node.op for node in graph.nodes if node.op != "transpose"], np.abs(got - want).max()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_one_node(name):
    options, ops = LAYERS[name]
    got, error = ops_and_error(torch.nn.Conv1d(8, 8, **options), torch.randn(3, 8, 41))
    assert got == ops and error < 1e-5


def test_zeros_in_front_become_padding_of_the_convolution():
    class Causal(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv1d(6, 10, 4)

        def forward(self, input):
            return self.conv(torch.nn.functional.pad(input, (3, 0)))

    ops, error = ops_and_error(Causal(), torch.randn(2, 6, 20))
    assert ops == ["conv1d"] and error < 1e-5


def test_transposes_between_layers_cancel():
    module = torch.nn.Sequential(torch.nn.Conv1d(4, 8, 3), torch.nn.Conv1d(8, 8, 3, groups=8), torch.nn.Conv1d(8, 4, 1))
    graph = import_torch(module.eval(), {"input": torch.randn(2, 4, 20)}, {"input": {2: "time"}})
    assert [node.op for node in graph.nodes].count("transpose") == 2


def test_reflection_is_refused():
    with pytest.raises(UnsupportedOp, match="pad|reflect"):
        ops_and_error(torch.nn.Conv1d(4, 4, 3, padding=1, padding_mode="reflect"), torch.randn(2, 4, 20))


@pytest.mark.parametrize("options", [{}, {"stride": 4, "padding": 2}, {"stride": 3, "padding": 1, "output_padding": 1}])
def test_a_transposed_layer_is_one_node(options):
    ops, error = ops_and_error(torch.nn.ConvTranspose1d(6, 5, 8, **options), torch.randn(2, 6, 20))
    assert ops == ["conv_transpose1d"] and error < 1e-5
