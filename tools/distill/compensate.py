"""Lets voices from recordings make up for what the finished model makes of them.

    python -m distill.compensate voice.puni -o better.puni

What a decoder speaks lies nearer to the voices that it knows than the vector that it is given. Here the finished model
speaks with the voices of 251 recordings of the training and makes voices of that speech. From a vector, a linear map
tells what is missing; `voice.speaker_head` adds it to GE2E's part of its vectors, so that speech in such a voice comes
out nearer to the recording. Voices that the file names stay as they are.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.pack import write
from pocketuni_tools.packing import pack_gemm_float, pack_plain
from pocketuni_tools.reader import Contents, read_model
from tqdm import tqdm

from . import speakers, split, voice_space
from .packed import default_data
from .timbre import load
from .voice_space import PITCH_AT, SIZE, TEACHER

HEAD, LAYER = "voice.speaker_head", "compensation"
HEARD_S = 12.0  # of a recording at most
SENTENCES = 6  # for each voice
TOLD = PITCH_AT + voice_space.PITCH  # numbers of a vector that tell what will be missing: all but the constant
RIDGE = 1.0
FOLDS = 5


def head_of(contents: Contents) -> Graph:
    """Raises ValueError where the file has no towers for voices of recordings."""
    for graph in contents.towers:
        if graph.name == HEAD:
            return graph
    raise ValueError(f"expected a tower {HEAD!r}; is it a voice that distill.export wrote?")


def without(contents: Contents) -> Contents:
    """The same file with a head that makes up for nothing."""
    graph = head_of(contents)
    for node in [node for node in graph.nodes if node.name.endswith(LAYER)]:
        graph.nodes.remove(node)
        graph.replace_uses(node.outputs[0], node.inputs[0])
    dropped = set(graph.constants)
    graph.prune()
    contents.packed = {n: p for n, p in contents.packed.items() if n not in dropped - set(graph.constants)}
    return contents


def compensated(contents: Contents, weight: np.ndarray, bias: np.ndarray) -> Contents:
    """The file with `weight` `[128, 191]` and `bias` `[128]` in its head, on the numbers before they are divided."""
    graph = head_of(contents)
    *before, last = graph.nodes
    if last.op != "l2_normalize":
        raise ValueError(f"tower {HEAD!r} ends in {last.op}, expected l2_normalize")
    matrix, offset = np.eye(SIZE, dtype=np.float32), np.zeros(SIZE, np.float32)
    matrix[:TEACHER, :TOLD] += weight
    offset[:TEACHER] = bias
    operands: list[str | None] = [last.inputs[0]]
    for kind, values in (("weight", matrix), ("bias", offset)):
        name = graph.add_constant(f"{HEAD}.{LAYER}.{kind}", values)
        contents.packed[name] = pack_gemm_float(values) if kind == "weight" else pack_plain(values)
        operands.append(name)
    graph.nodes = before
    result = Value(LAYER, "float32", (1, SIZE))
    last.inputs[0] = graph.add_node("linear", operands, [result], f"linear:{LAYER}", activation="none")[0]
    graph.nodes.append(last)
    return contents


def parts(voice: Any) -> np.ndarray:
    """The numbers of a voice before they were divided, `[192]`."""
    return voice.vector * (voice_space.CONSTANT / voice.vector[-1])


def answers(model: Any, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """What the model is told of each recording's speaker, and what its speech tells of them: `[N, 192]` twice."""
    random = np.random.default_rng(7)
    texts = (data / "text/harvard_first360.txt").read_text(encoding="utf-8").splitlines()
    told, heard = [], []
    for path in tqdm(sorted((data / "speech" / split.UNTRANSCRIBED).glob("*.opus")), "voices", unit="voice"):
        audio = load(path, speakers.RATE_HZ)[: int(HEARD_S * speakers.RATE_HZ)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on the recordings: they are what there is
            voice = model.voice((audio, speakers.RATE_HZ))
            said = [model.say(texts[i], voice=voice) for i in random.choice(len(texts), SENTENCES, replace=False)]
            answer = model.voice((np.concatenate([audio.samples for audio in said]), said[0].rate_hz))
        told.append(parts(voice))
        heard.append(parts(answer))
    return np.stack(told), np.stack(heard)


def fit(told: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ridge regression of `[N, 128]` on the first numbers of `[N, 192]`: weight `[128, 191]`, bias `[128]`."""
    x = told[:, :TOLD] - told[:, :TOLD].mean(0)
    weight = np.linalg.solve(x.T @ x + RIDGE * np.eye(TOLD), x.T @ (missing - missing.mean(0))).T
    return weight, missing.mean(0) - weight @ told[:, :TOLD].mean(0)


def explained(told: np.ndarray, missing: np.ndarray) -> float:
    """Share of what is missing that a map fitted to other voices tells."""
    left = np.zeros_like(missing)
    for fold in range(FOLDS):
        test = np.arange(len(told)) % FOLDS == fold
        weight, bias = fit(told[~test], missing[~test])
        left[test] = missing[test] - told[test, :TOLD] @ weight.T - bias
    return float(1 - np.square(left).sum() / np.square(missing).sum())


def main() -> None:
    import pocketuni

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .puni that distill.export wrote")
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        contents = without(read_model(options.model))
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "voice.puni"
            write(plain, contents)
            told, heard = answers(pocketuni.Model(str(plain), threads=1), options.data)
        missing = (told - heard)[:, :TEACHER]
        length = np.sqrt(np.square(missing).sum(1).mean())
        print(f"missing {length:.2f} of {np.linalg.norm(told[0, :TEACHER]):.2f}; ", end="")
        print(f"the map tells {explained(told, missing):.2f} of it for voices that it was not fitted to")
        contents.meta.setdefault("provenance", {})["compensation"] = (
            f"{len(told)} voices of LibriSpeech, as they speak here"
        )
        write(options.out, compensated(contents, *fit(told, missing)))
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
