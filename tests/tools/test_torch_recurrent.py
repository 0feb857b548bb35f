"""PyTorch's recurrent modules, evaluated, against the modules themselves."""

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")

from pocketuni_tools.evaluate import evaluate  # noqa: E402
from pocketuni_tools.fuse import fuse  # noqa: E402
from pocketuni_tools.import_torch import import_torch  # noqa: E402
from torch import nn  # noqa: E402


@pytest.fixture(autouse=True)
def no_traces():
    """torch.export traces itself through `logging`, and pytest would format and keep every record."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.inner = kind(6, 5, **options)
        self.cells = kind is nn.LSTM

    def forward(self, x, state):
        y, end = self.inner(x, (state, state + 1) if self.cells else state)
        return (y, *end) if self.cells else (y, end)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_first": True, "bidirectional": True}, {"num_layers": 2, "bias": False}],
    ids=["plain", "bidirectional", "layers"],
)
def test_a_recurrent_module_computes_what_pytorch_does(kind, options):
    torch.manual_seed(2)
    module = Recurrent(kind, **options).eval()
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    shape = (3, 7, 6) if options.get("batch_first") else (7, 3, 6)
    x, state = torch.randn(shape), torch.randn(count, 3, 5)
    batch = 0 if options.get("batch_first") else 1
    graph = import_torch(module, {"x": x, "state": state}, {"x": {batch: "batch"}, "state": {1: "batch"}})
    got = evaluate(fuse(graph), {"x": x.numpy(), "state": state.numpy()})
    for name, want in zip(graph.outputs, module(x, state), strict=True):
        np.testing.assert_allclose(got[name], want.detach().numpy(), rtol=1e-5, atol=1e-5)


class Starting(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(6, 5, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0]


def test_a_state_that_starts_as_zeros_is_left_out():
    x = torch.randn(2, 7, 6)
    module = Starting().eval()
    graph = fuse(import_torch(module, {"x": x}, {}))
    assert [len(node.inputs) for node in graph.nodes if node.op == "gru"] == [3]
    (got,) = evaluate(graph, {"x": x.numpy()}).values()
    np.testing.assert_allclose(got, module(x).detach().numpy(), rtol=1e-5, atol=1e-5)
