"""PyTorch modules on pictures: every operator against PyTorch, and residual networks on real pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the package torch is not installed")

from pocketuni_tools.convert import convert  # noqa: E402
from pocketuni_tools.evaluate import evaluate  # noqa: E402
from pocketuni_tools.fuse import fuse  # noqa: E402
from pocketuni_tools.import_factory import tower_of  # noqa: E402
from pocketuni_tools.import_torch import import_torch  # noqa: E402
from pocketuni_tools.reader import read_model  # noqa: E402
from pocketuni_tools.report import cosines  # noqa: E402
from pocketuni_tools.source import Source  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
BATCH = {"x": {0: "batch"}}


@pytest.fixture(autouse=True)
def no_traces():
    """torch.export traces itself through `logging`, and pytest would format and keep every record."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


LAYERS = {
    "plain": nn.Conv2d(4, 6, 3, padding=1),
    "strided": nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False),
    "groups": nn.Conv2d(4, 6, 3, groups=2, padding="same"),
    "depthwise": nn.Conv2d(4, 4, 5, groups=4, padding=2),
    "point": nn.Conv2d(4, 9, 1),
    "folded": nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.SiLU()),
    "pools": nn.Sequential(
        nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, 1, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    ),
    "global": nn.Sequential(nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
    "adaptive": nn.AdaptiveAvgPool2d((2, 3)),
    "prelu": nn.Sequential(nn.Conv2d(4, 5, 3), nn.PReLU(5), nn.PReLU()),
}


def randomized(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return module.eval()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_pytorch_does(name):
    torch.manual_seed(1)
    module, x = randomized(LAYERS[name]), torch.randn(3, 4, 12, 9)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return self.inner(x)

    graph = fuse(import_torch(Wrapped().eval(), {"x": x[:2]}, BATCH))
    (got,) = evaluate(graph, {"x": x.numpy()}).values()
    np.testing.assert_allclose(got, module(x).detach().numpy(), rtol=1e-4, atol=2e-5)


def test_norms_and_activations_go_into_the_convolution():
    graph = fuse(import_torch(randomized(LAYERS["folded"]), {"input": torch.randn(2, 4, 8, 8)}, {}))
    assert [node.op for node in graph.nodes if node.op != "transpose"] == ["conv2d", "linear"]


def test_large_depthwise_convolutions_run_in_int8(tmp_path):
    pocketuni = pytest.importorskip("pocketuni", reason="the package pocketuni is not built")
    torch.manual_seed(3)
    layers = [nn.Conv2d(192, 192, size, padding=size // 2, groups=192) for size in (5, 7, 3)]
    module = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.ReLU(), layers[2]).eval()
    x, sizes = torch.randn(2, 192, 14, 14), {}
    want = module(x).detach().numpy().reshape(2, -1)
    for weights, bound in (("fp32", 1 - 1e-6), ("int8", 0.9998), ("int4", 0.9998)):
        path = tmp_path / f"{weights}.puni"
        example = (module, {"input": x[:1]}, {"input": {0: "batch"}})
        convert(Source("large", [tower_of("main", example)]), path, weights)
        encodings = {item.dims: item.encoding for item in read_model(path).packed.values() if len(item.dims) == 2}
        if weights == "fp32":
            assert encodings == {(25, 192): "f32", (49, 192): "f32", (9, 192): "f32"}
        else:
            assert encodings == {(192, 25): "gemm_i8", (192, 49): "gemm_i8", (9, 192): "f32"}
        sizes[weights] = path.stat().st_size
        with pocketuni.Model(path, threads=2) as model:
            (got,) = model.towers["main"].run(input=x.numpy()).values()
        worst = cosines(got.reshape(2, -1), want).min()
        assert bound < worst, weights
        assert weights == "fp32" or worst < 0.999999, "nothing was rounded"
    assert sizes["int8"] < 0.6 * sizes["fp32"]


class Block(nn.Module):
    """Two convolutions; where the picture gets smaller, the way past them takes every other pixel and pads channels."""

    def __init__(self, inner: int, outer: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        self.pad = (outer - inner) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return functional.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, blocks: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for number, (inner, outer) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            layers = [Block(inner, outer, 1 + (inner != outer)), *(Block(outer, outer, 1) for _ in range(blocks - 1))]
            setattr(self, f"layer{number}", nn.Sequential(*layers))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(functional.avg_pool2d(x, 8).flatten(1))


MEAN, DEVIATION = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def cifar(count: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(DATA / "vision" / "cifar10_test_2000.npz") as file:
        image, label = file["image"][:count], file["label"][:count]
    return np.asarray((image / 255 - MEAN) / DEVIATION, np.float32).transpose(0, 3, 1, 2).copy(), label


@pytest.mark.parametrize("file,blocks,count", [("resnet20-12fca82f.th", 3, 2000), ("resnet56-4bfd9763.th", 9, 2000)])
def test_residual_networks_keep_their_accuracy_in_int8_and_int4(file, blocks, count, tmp_path):
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data (CIFAR ResNets and pictures)")
    pocketuni = pytest.importorskip("pocketuni", reason="the package pocketuni is not built")
    stored = torch.load(DATA / "models" / "cifar_resnet" / file, map_location="cpu", weights_only=True)["state_dict"]
    module = ResNet(blocks)
    module.load_state_dict({name.removeprefix("module."): value for name, value in stored.items()})
    (x, label), accuracy = cifar(count), {}
    for weights in ("fp32", "int8", "int4"):
        source = Source("resnet", [tower_of("main", (module, {"x": torch.from_numpy(x[:4])}, BATCH))])
        if weights == "int4":  # rounded on pictures, without their labels
            source.towers[0].feeds = [{"x": part} for part in np.split(x[:128], 4)]
        convert(source, tmp_path / f"{weights}.puni", weights)
        with pocketuni.Model(tmp_path / f"{weights}.puni", threads=1) as model:
            got = [next(iter(model.towers["main"].run(x=part).values())) for part in np.split(x, count // 100)]
        accuracy[weights] = 100 * np.mean(np.concatenate(got).argmax(1) == label)
        if weights == "fp32":
            exact = module(torch.from_numpy(x[:100])).detach().numpy()
            assert np.abs(got[0] - exact).max() <= 1e-4 * np.abs(exact).max()
    assert accuracy["int8"] >= accuracy["fp32"] - 0.3, accuracy
    assert accuracy["int4"] >= accuracy["fp32"] - 1.5, accuracy
    sizes = [(tmp_path / f"{weights}.puni").stat().st_size for weights in ("int4", "int8")]
    assert sizes[0] < 0.75 * sizes[1]
