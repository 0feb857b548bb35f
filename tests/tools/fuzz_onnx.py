"""Fuzz target of the ONNX importer: any model is imported or refused with a ValueError or UnsupportedOp; what is
imported can be written, and the runtime opens and runs it or says what is wrong.

The first bytes of an input choose one of the operators' test models (onnx_cases.py), the rest changes of it; an input
that begins with 255 is the bytes of a file. Run it from the repository's root, with any options of libFuzzer (needs
`pip install atheris`):

    python tests/tools/fuzz_onnx.py -max_total_time=60 CORPUS

Without watching which code an input reaches, ten times as many a second are tried:

    python tests/tools/fuzz_onnx.py --random 1000000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import atheris

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/tools")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

WATCHED = not any(argument.split("=")[0] == "--random" for argument in sys.argv)
with atheris.instrument_imports(include=["pocketuni_tools"]) if WATCHED else contextlib.nullcontext():
    from pocketuni_tools.import_onnx import import_onnx
    from pocketuni_tools.ir import UnsupportedOp
    from pocketuni_tools.writer import write_model

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx_cases import CASES, Case  # noqa: E402

try:
    from pocketuni import _core as core
except ImportError:  # only the importer and the writer are tried then
    core = None

REFUSED = (ValueError, UnsupportedOp, OSError)
MOST_CHANGES, MOST_ELEMENTS, MOST_SECONDS = 6, 1 << 16, 60
NUMBERS = [0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 255, -1, -2, -3, -8]
NUMBERS += [1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 40, (1 << 63) - 1]
FLOATS = [0.0, 1.0, -1.0, 0.5, 1e-30, 3e38, float("inf"), float("nan")]
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
SEEDS: dict[tuple[int, int], onnx.ModelProto] = {}


def seed(case: int, version: int) -> onnx.ModelProto:
    chosen: Case = CASES[case % len(CASES)]
    opset = chosen.opsets[version % len(chosen.opsets)]
    key = (case % len(CASES), opset)
    if key not in SEEDS:
        SEEDS[key] = chosen.model(opset)
    model = onnx.ModelProto()
    model.CopyFrom(SEEDS[key])
    return model


def messages(message: Any) -> list[Any]:
    """A protobuf message and all within it."""
    found = [message]
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if hasattr(value, "add") else [value]:
                found += messages(part)
    return found


def other_value(data: atheris.FuzzedDataProvider, field: Any, names: list[str]) -> Any:
    if field.type == field.TYPE_STRING:
        return data.PickValueInList(names) if data.ConsumeBool() else data.ConsumeUnicodeNoSurrogates(6)
    if field.type == field.TYPE_BYTES:
        return data.ConsumeBytes(data.ConsumeIntInRange(0, 64))
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return data.PickValueInList(FLOATS)
    if field.type == field.TYPE_ENUM:
        return data.PickValueInList([value.number for value in field.enum_type.values])
    small = field.type in (field.TYPE_INT32, field.TYPE_UINT32)
    number = data.PickValueInList(NUMBERS)
    number = abs(number) if field.type in (field.TYPE_UINT64, field.TYPE_UINT32) else number
    return max(-(1 << 31), min(number, (1 << 31) - 1)) if small else number


def change(data: atheris.FuzzedDataProvider, parts: list[Any], names: list[str]) -> bool:
    """Changes one field of one of the messages: another value, one more element, one less, or two that change places.
    True: other messages are there than before."""
    message = data.PickValueInList(parts)
    fields = [field for field, _ in message.ListFields()]
    if data.ConsumeIntInRange(0, 3) == 0 or not fields:
        fields = list(message.DESCRIPTOR.fields)
    field = data.PickValueInList(fields)
    value = getattr(message, field.name)
    repeated, inner = hasattr(value, "extend"), field.type == field.TYPE_MESSAGE
    if not repeated:
        if inner:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, other_value(data, field, names))
        return inner
    place = data.ConsumeIntInRange(0, max(0, len(value) - 1))
    action = data.ConsumeIntInRange(0, 3)
    if action == 0 and len(value):
        del value[place]
    elif action == 1 and len(value) < 40:
        if inner:
            value.add().CopyFrom(value[place] if place < len(value) - 1 else value.add())
        else:
            value.append(other_value(data, field, names))
    elif len(value):
        other = data.ConsumeIntInRange(0, len(value) - 1)
        if inner:
            kept = type(value[place])()
            kept.CopyFrom(value[place])
            value[place].CopyFrom(value[other])
            value[other].CopyFrom(kept)
        elif action == 2:
            value[place] = other_value(data, field, names)
        else:
            value[place], value[other] = value[other], value[place]
    return inner


def changed_model(data: atheris.FuzzedDataProvider) -> onnx.ModelProto:
    model = seed(data.ConsumeIntInRange(0, len(CASES) - 1), data.ConsumeIntInRange(0, 4))
    names = [*(item.name for item in model.graph.input), *(name for node in model.graph.node for name in node.output)]
    names += ["", "y", "axis", *(node.op_type for node in model.graph.node), data.PickValueInList(CASES).name]
    parts = messages(model.graph)
    for _ in range(data.ConsumeIntInRange(0, MOST_CHANGES)):
        if change(data, parts, names):
            parts = messages(model.graph)
    return model


def run(path: Path, graph: Any) -> None:
    """Opens what was written, and runs it on small inputs."""
    session = core.Session(core.Model(str(path)), graph.name, 1)
    sizes = {dim: (2, 3, 1)[place % 3] for place, dim in enumerate(graph.named_dims())}
    feed = {}
    for name in graph.inputs:
        value = graph.values[name]
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in value.shape]
        if np.prod(shape, dtype=float) > MOST_ELEMENTS:
            return
        feed[name] = np.ones(shape, value.dtype)
    session.run(feed)


def try_input(content: bytes, folder: str) -> None:
    imported, written = Path(folder) / "model.onnx", Path(folder) / "model.puni"
    source: Any = imported
    if content[:1] == b"\xff":
        imported.write_bytes(content[1:])
    else:
        source = changed_model(atheris.FuzzedDataProvider(content))
    try:
        graph = import_onnx(source)
        write_model(written, [graph])
    except REFUSED:
        return
    try:
        if core is not None:
            run(written, graph)
    except (*REFUSED, MemoryError):
        pass


def test_one_input(content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:  # libFuzzer ends without a chance to clean up
        try_input(content, folder)


def give_up(*_: object) -> None:
    raise RuntimeError(f"it took more than {MOST_SECONDS} s")


def try_random(count: int, first: int, folder: str) -> None:
    """Inputs number `first` and those after it; an error, or one that takes too long, ends it and says which it was."""
    start = time.monotonic()
    signal.signal(signal.SIGPROF, give_up)
    for done in range(count):
        numbers = random.Random(first + done)
        content = bytes([numbers.randrange(255)]) + numbers.randbytes(numbers.choice((15, 50, 120, 300)))
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # of the CPU: others may keep it waiting
        try:
            try_input(content, folder)
        except BaseException:
            print(f"input {first + done}: {content.hex()}", file=sys.stderr)
            raise
        if done % 10_000 == 9_999 or done == count - 1:
            print(f"{done + 1} of {count} inputs, {(done + 1) / (time.monotonic() - start):.0f} a second", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if core is None:
        print("pocketuni is not installed: imported models are not run", file=sys.stderr)
    if WATCHED:
        atheris.Setup(sys.argv, test_one_input)
        atheris.Fuzz()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, metavar="COUNT", help="try so many random inputs")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="the number of the first (default: 0)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        try_random(args.random, args.first, folder)
