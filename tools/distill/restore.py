"""Networks to go on training from a finished `.puni`, for machines that have no checkpoints.

    python -m distill.restore voice.puni --work WORK

writes what other modules read from WORK: pitch reader, vocoder, and the towers for recordings. train_acoustic and
train_vocoder take the file itself (`--start`).

Weights come back as the runtime multiplies with them, rounding included, and undo what the exporters folded: scales of
bands, of layers and of speaker vectors. What a file does not hold (optimizers, critics) starts anew.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from pocketuni_tools.packing import Packed, unpack
from pocketuni_tools.reader import read_model
from torch import Tensor, nn

from . import activity, cloning_towers, speaker_tower, train_pitch, vocoder, voice_space
from .acoustic import SPEAKER, Acoustic, Decoder, Shape, load_acoustic
from .data import Prepared
from .mel import MELS
from .speaker_tower import MEL_SCALE
from .voice_space import VoiceSpace

SPEAKER_SCALE = SPEAKER**0.5  # acoustic_graph.py folds it into the layers that read speaker vectors


class Weights:
    """Tensors of a file by name, as float32. Raises ValueError, naming what is not there."""

    def __init__(self, path: Path):
        self.path = path
        contents = read_model(path)
        self.packed: dict[str, Packed] = contents.packed
        self.blobs: dict[str, bytes] = contents.blobs
        self.towers = {graph.name: graph for graph in contents.towers}

    def __contains__(self, name: str) -> bool:
        return name in self.packed

    def __call__(self, name: str) -> np.ndarray:
        if name not in self.packed:
            raise ValueError(f"{self.path}: expected a tensor {name!r}; is it a voice that distill.export wrote?")
        return unpack(self.packed[name])

    def count(self, form: str) -> int:
        """How many tensors `form.format(0)`, `form.format(1)` ... there are."""
        found = 0
        while form.format(found) in self.packed:
            found += 1
        return found


class Layers(dict[str, np.ndarray]):
    """Weights of a tower by the names of its module's. Raises ValueError, naming what the file does not hold."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def __missing__(self, name: str) -> np.ndarray:
        raise ValueError(f"{self.path}: its towers lack {name!r}; expected those of this version's export")


def shape_of(w: Weights) -> Shape:
    """Widths and depths of the acoustic student in a file."""
    e, d = "voice.encoder", "voice.decoder"
    return Shape(
        encoder=w(f"{e}.norm.weight").shape[0],
        encoder_inner=w(f"{e}.stack.0.widen.weight").shape[0],
        encoder_blocks=w.count(e + ".stack.{}.widen.weight"),
        variance_inner=w(f"{e}.variance.0.widen.weight").shape[0],
        variance_blocks=w.count(e + ".variance.{}.widen.weight"),
        decoder=w(f"{d}.norm.weight").shape[0],
        decoder_inner=w(f"{d}.stack.0.widen.weight").shape[0],
        decoder_blocks=w.count(d + ".stack.{}.widen.weight"),
        film=w(f"{e}.stack.speaker.weight").shape[0],
    )


def module_weights(w: Weights, tower: str, module: nn.Module) -> Layers:
    """Weights of an acoustic module, named as its tower's tensors are; layers that the file lacks are left out."""
    found = Layers(w.path)
    for name in module.state_dict():
        layer, _, kind = name.replace(".blocks.", ".").rpartition(".")
        stored = f"{tower}.{layer}.{kind}"
        if layer.endswith(".film"):
            parts = [w(f"{tower}.{layer.removesuffix('film')}{half}.{kind}") for half in ("scale", "shift")]
            if kind == "bias":
                parts[0] = parts[0] - 1.0
            found[name] = np.concatenate(parts)
        elif stored in w:
            found[name] = w(stored)
            if kind == "weight" and layer.rpartition(".")[2] in ("speaker", "tint"):
                found[name] = found[name] / SPEAKER_SCALE
    return found


def unfold_bands(found: dict[str, np.ndarray], mean: np.ndarray, deviation: np.ndarray) -> None:
    """The decoder's last layers give normalized bands again."""
    for name in ("leave.weight", "tint.weight"):
        if name in found:
            found[name] = found[name] / deviation[:, None]
    found["leave.bias"] = (found["leave.bias"] - mean) / deviation
    found["mean"], found["deviation"] = mean, deviation


def fill(module: nn.Module, found: dict[str, np.ndarray], optional: tuple[str, ...] = ()) -> None:
    """Loads weights; those of `optional` layers may be absent."""
    state = {name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in found.items()}
    missing, unknown = module.load_state_dict(state, strict=False)
    if unknown or [name for name in missing if not name.startswith(optional)]:
        raise ValueError(f"the file's towers lack {', '.join(missing)}; expected those of this version's export")


def acoustic_of(path: Path, mean: np.ndarray, deviation: np.ndarray) -> Acoustic:
    """The acoustic student of a `.puni`; `mean` and `deviation` `[80]` of the bands are those of the data to come."""
    w = Weights(path)
    model = Acoustic(shape_of(w))
    fill(model.encoder, module_weights(w, "voice.encoder", model.encoder))
    found = module_weights(w, "voice.decoder", model.decoder)
    unfold_bands(found, mean, deviation)
    fill(model.decoder, found, ("tint",))
    assert isinstance(model.decoder, Decoder)
    return model


def student_of(path: Path, data: Prepared) -> Acoustic:
    """The acoustic student of a checkpoint, or of a finished `.puni` with the bands of `data`."""
    if path.suffix != ".puni":
        return load_acoustic(path)
    return acoustic_of(path, *data.band_statistics()).eval().requires_grad_(False)


def space_of(path: Path, fitted: VoiceSpace) -> VoiceSpace:
    """The voice space of a `.puni`, where GE2E's part is `fitted` to the same recordings.

    Fitted anew, axes of nearly equal weight turn with the smallest difference between libraries. What the spectrum's
    are, the file's tower for recordings tells.
    """
    w = Weights(path)
    if voice_space.BLOB not in w.blobs:
        raise ValueError(f"{path}: expected a blob {voice_space.BLOB!r}; is it a voice that distill.export wrote?")
    weight, bias = (w(f"voice.speaker_head.told.{kind}")[: voice_space.SPECTRUM] for kind in ("weight", "bias"))
    width = weight.shape[1] // 2 - MELS
    told = np.concatenate([weight[:, width : width + MELS], weight[:, 2 * width + MELS :]], axis=1)
    stretch = cloning_towers.SPECTRUM_STRETCH * voice_space.SPECTRUM_SHARE
    axes, wanted = told * MEL_SCALE / stretch, -bias / stretch
    mean = fitted.spectrum_mean + np.linalg.pinv(axes) @ (wanted - axes @ fitted.spectrum_mean)
    name = np.frombuffer(w.blobs[voice_space.BLOB], np.uint8)
    return VoiceSpace(fitted.mean, fitted.axes, mean.astype(np.float32), axes.astype(np.float32), name)


def of_tower(w: Weights, tower: str) -> Layers:
    """Weights of one tower, named as in its own module: towers whose modules name theirs alike share a file."""
    if tower not in w.towers:
        raise ValueError(f"{w.path}: expected a tower {tower!r}; is it a voice that distill.export wrote?")
    named = {name.removeprefix(f"{tower}.").removeprefix("model."): name for name in w.towers[tower].constants}
    found = Layers(w.path)
    found.update((own, w(name)) for own, name in named.items())
    return found


def config_of(found: dict[str, np.ndarray]) -> vocoder.Config:
    """Widths and depth of a pitch reader or a vocoder."""
    return vocoder.Config(
        channels=len(found["trunk.first.bias"]),
        hidden=len(found["trunk.blocks.0.expand.bias"]),
        blocks=sum(bool(re.fullmatch(r"trunk\.blocks\.\d+\.expand\.bias", name)) for name in found),
    )


def trunk_weights(found: dict[str, np.ndarray], model: nn.Module) -> dict[str, Tensor]:
    """Weights as a pitch reader or a vocoder loads them; its layers' scales have become ones."""
    state = {}
    for name, own in model.state_dict().items():
        if name.endswith(".scale"):
            state[name] = torch.ones_like(own)
        elif name == "values":
            state[name] = own
        else:
            value = torch.from_numpy(np.ascontiguousarray(found[name]))
            if name.endswith("depthwise.weight"):
                value = value.t()[:, None]
            elif name == "trunk.first.weight":
                value = value.reshape(len(own), own.shape[2], own.shape[1]).transpose(1, 2)
            state[name] = value
    return state


def vocoder_of(path: Path) -> vocoder.Vocoder:
    """The vocoder student of a `.puni`."""
    found = of_tower(Weights(path), "voice.vocoder")
    model = vocoder.Vocoder(config_of(found))
    model.load_state_dict(trunk_weights(found, model))
    return model


def pitch_of(path: Path) -> train_pitch.PitchReader:
    """The pitch reader of a `.puni`."""
    found = of_tower(Weights(path), "voice.pitch")
    model = train_pitch.PitchReader(config_of(found))
    for name in ("head.weight", "head.bias"):  # the factor before its softmax has gone into it
        found[name] = found[name] / train_pitch.SHARPEN
    model.load_state_dict(trunk_weights(found, model))
    return model.eval()


def tower_shape(found: dict[str, np.ndarray]) -> dict[str, int]:
    """Widths and depth of a tower for recordings."""
    return {
        "channels": len(found["enter.bias"]),
        "inner": len(found["0.widen.bias"]),
        "blocks": sum(name.endswith(".widen.bias") for name in found),
    }


def tower_weights(found: dict[str, np.ndarray], model: nn.Module) -> dict[str, np.ndarray]:
    """Weights of a tower for recordings as its module names them, without those of a head."""
    state = {}
    for name in model.state_dict():
        stored = name.replace("enter.linear.", "enter.").removeprefix("blocks.")
        if not name.startswith("head."):
            state[name] = found[stored] / MEL_SCALE if stored == "enter.weight" else found[stored]
    return state


def speaker_of(path: Path) -> speaker_tower.SpeakerTower:
    """The student of GE2E of a `.puni`. Rows of its head beyond those that a vector holds are zero: whoever trains it
    fits the head again."""
    w = Weights(path)
    found = of_tower(w, "voice.speaker")
    shape = speaker_tower.Shape(**tower_shape(found), features=len(found["leave.bias"]))
    model = speaker_tower.SpeakerTower(shape)
    fill(model, tower_weights(found, model), ("head",))
    matrix, bias = (torch.from_numpy(w(f"voice.speaker_head.teacher.{kind}").copy()) for kind in ("weight", "bias"))
    own, half = shape.features, matrix.shape[1] // 2
    with torch.no_grad():
        model.head.linear.weight.zero_()[: len(matrix)] = torch.cat([matrix[:, :own], matrix[:, half : half + own]], 1)
        model.head.linear.bias.zero_()[: len(bias)] = bias
    return model


def activity_of(path: Path) -> activity.ActivityTower:
    """The student of silero of a `.puni`."""
    found = of_tower(Weights(path), "voice.activity")
    shape = tower_shape(found)
    model = activity.ActivityTower(activity.Shape(shape["channels"], shape["inner"]))
    fill(model, tower_weights(found, model))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a .puni that distill.export wrote")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    reader, spectrum = pitch_of(options.model), vocoder_of(options.model)
    speaker, gate = speaker_of(options.model), activity_of(options.model)
    states = {
        "vocoder/pitch.pt": {"config": asdict(reader.config), "state": reader.state_dict()},
        "vocoder/student/vocoder.pt": {"config": asdict(spectrum.config), "state": spectrum.state_dict()},
        "speaker/speaker.pt": {"shape": asdict(speaker.shape), "average": speaker.state_dict()},
        "speaker/activity.pt": {"shape": asdict(gate.shape), "average": gate.state_dict()},
    }
    for name, state in states.items():
        path = options.work / name
        if path.exists():
            print(f"{path}: left as it is")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)
        print(path)


if __name__ == "__main__":
    main()
