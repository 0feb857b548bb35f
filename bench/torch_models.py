"""PyTorch models that bench/onnx_models.py exports to ONNX: ResNets for CIFAR-10 of ../shared/data, and ViT-S/16."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

RESNETS = {"resnet20": (3, "resnet20-12fca82f.th"), "resnet56": (9, "resnet56-4bfd9763.th")}
VIT = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}


class Block(nn.Module):
    """Two convolutions; the way around them halves the picture and pads the channels where they differ."""

    def __init__(self, inner: int, outer: int):
        super().__init__()
        self.stride, self.more = 1 + (inner != outer), (outer - inner) // 2
        self.conv1 = nn.Conv2d(inner, outer, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.more:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, blocks: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for number, (inner, outer) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            layers = [Block(inner, outer), *(Block(outer, outer) for _ in range(blocks - 1))]
            setattr(self, f"layer{number}", nn.Sequential(*layers))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(functional.avg_pool2d(x, 8).flatten(1))


class Hidden(nn.Module):
    """A model of `transformers` that gives its last hidden state alone."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).last_hidden_state


def export(name: str, models: Path, path: Path) -> None:
    """Writes `resnet20` or `resnet56` with the weights under `models`, or `vit` with random ones, as ONNX: x -> y."""
    torch.manual_seed(0)
    batch = {"x": {0: "batch"}, "y": {0: "batch"}}
    if name in RESNETS:
        blocks, file = RESNETS[name]
        stored = torch.load(models / "cifar_resnet" / file, map_location="cpu", weights_only=True)["state_dict"]
        module: nn.Module = ResNet(blocks)
        module.load_state_dict({key.removeprefix("module."): value for key, value in stored.items()})
        x = torch.zeros(1, 3, 32, 32)
    else:
        from transformers import ViTConfig, ViTModel

        module = Hidden(ViTModel(ViTConfig(**VIT, attn_implementation="eager"), add_pooling_layer=False))
        x, batch = torch.zeros(1, 3, 224, 224), {}
    torch.onnx.export(
        module.eval(), (x,), str(path), input_names=["x"], output_names=["y"], opset_version=17, dynamo=False,
        dynamic_axes=batch,
    )  # fmt: skip
