"""Training with products in int8: what it multiplies is what the runtime does, and weights learn to live with it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from distill import rounded, vocoder  # noqa: E402
from pocketuni_tools.meanings import round_rows  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402


def test_rows_are_rounded_as_the_runtime_rounds_them():
    x = np.random.default_rng(0).standard_normal((40, 96)).astype(np.float32)
    x[3] = 0
    with np.errstate(divide="ignore"):
        whole, scale = round_rows(x)
    np.testing.assert_allclose(rounded.as_rounded(torch.from_numpy(x), -1).numpy(), whole * scale, rtol=2e-6, atol=1e-9)


def test_the_gradient_passes_the_rounding():
    x = torch.randn(5, 8, requires_grad=True)
    (rounded.as_rounded(x, -1) * torch.arange(8.0)).sum().backward()
    torch.testing.assert_close(x.grad, torch.arange(8.0).expand(5, 8))


def test_layers_keep_their_weights_and_multiply_rounded():
    model = vocoder.Vocoder(vocoder.Config(channels=16, hidden=24, blocks=2)).eval()
    mel, before = torch.randn(1, 12, 80) - 5, {name: value.clone() for name, value in model.state_dict().items()}
    exact = model.gains(mel)[0]
    rounded.round_products(model.int8_products())
    error = (model.gains(mel)[0] - exact).norm() / exact.norm()
    assert 1e-4 < error < 0.05, error
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sum(isinstance(m, rounded.RoundedLinear | rounded.RoundedConv1d) for m in model.modules()) == 6


def test_a_rounded_finish_makes_up_for_the_rounding():
    """One weight of each output is so large that the others are rounded to steps of 0.4. These multiply the same input,
    so only their sum matters: a layer that trains with that rounds some of them up where others went down."""
    torch.manual_seed(0)
    x = torch.randn(512, 2)[:, [0] + [1] * 24]
    slope = torch.randn(8)
    wanted = 50 * x[:, :1] + x[:, 1:2] * slope
    layer = nn.Linear(25, 8, bias=False)
    with torch.no_grad():  # an exact solution
        layer.weight.normal_()[:, 0] = 50
        layer.weight[:, 1] += slope - layer.weight[:, 1:].sum(1)

    def descend(steps: int, rate: float) -> float:
        optimizer = torch.optim.Adam(layer.parameters(), rate)
        for _ in range(steps):
            loss = functional.mse_loss(layer(x), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(functional.mse_loss(layer(x), wanted).detach())

    assert descend(0, 0.0) < 1e-6
    rounded.round_products([layer])
    before, after = descend(0, 0.0), descend(200, 2e-3)
    assert after < 0.5 * before, (after, before)
