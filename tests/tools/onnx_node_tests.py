"""Runs onnx's own node tests (`onnx.backend.test`) through importer, fusion, writer and runtime, and says which
operators pass them. `python tests/tools/onnx_node_tests.py` writes the table of docs/onnx.md."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from pocketuni_tools.fuse import fuse
from pocketuni_tools.import_onnx import import_onnx
from pocketuni_tools.ir import UnsupportedOp
from pocketuni_tools.onnx_load import OPSETS, check_node, dtype_of
from pocketuni_tools.onnx_walk import HANDLERS
from pocketuni_tools.writer import write_model

import pocketuni

TABLE = Path(__file__).parents[2] / "docs" / "onnx.md"
DTYPES = {"float32", "float64", "int32", "int64", "bool"}  # float64 computes in float32
NARROW = {"uint8", "int8", "uint16", "int16"}  # what quantization makes and takes; kept in int32
QUANTIZATION = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
CLAIMED_LEAST = 100


@dataclass
class NodeTest:
    name: str
    op: str
    model: onnx.ModelProto
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    rtol: float
    atol: float


@dataclass
class Result:
    """Of one operator: names of tests that pass, and tests that are refused -> why. `wrong`: other results."""

    passed: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def claimed(self) -> bool:
        return bool(self.passed) and not self.refused and not self.wrong


def load() -> Iterator[NodeTest]:
    """Tests of a single standard operator with numbers of the dtypes that the runtime has."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) != 1 or is_newer(case.model) or nodes[0].domain not in ("", "ai.onnx") or not case.data_sets:
            continue
        inputs, outputs = ([np.asarray(item) if isinstance(item, np.generic) else item for item in arrays]
                           for arrays in case.data_sets[0])  # fmt: skip
        allowed = DTYPES | (NARROW if nodes[0].op_type in QUANTIZATION else set())
        arrays = [*inputs, *outputs]
        tensors = all(item.type.HasField("tensor_type") for item in case.model.graph.input)
        if tensors and all(isinstance(item, np.ndarray) and str(item.dtype) in allowed for item in arrays):
            yield NodeTest(case.name, nodes[0].op_type, case.model, list(inputs), list(outputs), case.rtol, case.atol)


def supported_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model at an opset that is supported: the tests carry the newest one that changed an operator in any way, most
    often by another dtype. The importer checks the node against the older definition."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for entry in copy.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = OPSETS[-1]
    return copy


def is_newer(model: onnx.ModelProto) -> bool:
    """Whether the node has attributes or operands that its definition gained after the newest opset supported."""
    try:
        check_node(model.graph.node[0], OPSETS[-1])
    except ValueError:
        return True
    return False


def with_constants(test: NodeTest, places: set[int]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model with some inputs as constants, and arrays for the others."""
    model, feed = supported_model(test.model), {}
    inputs = list(model.graph.input)
    del model.graph.input[:]
    for place, (item, array) in enumerate(zip(inputs, test.inputs, strict=True)):
        if place in places:
            model.graph.initializer.append(numpy_helper.from_array(array, item.name))
        else:
            model.graph.input.append(item)
            feed[item.name] = array.astype(dtype_of(array.dtype))
    return model, feed


def attempts(test: NodeTest) -> list[set[int]]:
    """Which inputs are constants: none; shapes, axes and indices; all but the first; for operators whose only operands
    are sizes or a condition, all. The first that is imported counts."""
    whole = {place for place, array in enumerate(test.inputs) if place and array.dtype.kind in "iu"}
    sets = [set(), whole, set(range(1, len(test.inputs)))]
    if test.op in ("ConstantOfShape", "Range", "If"):
        sets.append(set(range(len(test.inputs))))
    return list({tuple(sorted(item)): item for item in sets}.values())


def run(test: NodeTest, folder: Path) -> None:
    """Raises UnsupportedOp where the importer refuses the test, AssertionError where a result differs."""
    refusal: Exception | None = None
    for places in attempts(test):
        try:
            model, feed = with_constants(test, places)
            graph = fuse(import_onnx(model))
        except UnsupportedOp as error:
            refusal = error
            continue
        path = folder / "node.puni"
        write_model(path, [graph])
        with pocketuni.Model(path, threads=1) as opened:
            got = opened.towers["main"].run(**{name: feed[name] for name in graph.inputs})
        for name, want in zip(graph.outputs, test.outputs, strict=True):
            compare(got[name], want, test)
        return
    assert refusal is not None
    raise refusal


def compare(got: np.ndarray, want: np.ndarray, test: NodeTest) -> None:
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    assert str(got.dtype) == dtype_of(want.dtype), f"{got.dtype}, expected {want.dtype}"
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=test.rtol, atol=max(test.atol, 1e-6))
    else:
        np.testing.assert_array_equal(got, want.astype(got.dtype))


def results() -> dict[str, Result]:
    """Operator -> result, of all operators that have tests."""
    found: dict[str, Result] = defaultdict(Result)
    with tempfile.TemporaryDirectory() as folder:
        for test in load():
            result = found[test.op]
            try:
                run(test, Path(folder))
                result.passed.append(test.name)
            except UnsupportedOp as error:
                result.refused[test.name] = reason(error)
            except (ValueError, AssertionError) as error:
                result.wrong[test.name] = f"{type(error).__name__}: {str(error).strip()}"
    return dict(found)


def reason(error: UnsupportedOp) -> str:
    return str(error.op).partition(" with ")[2] or "no counterpart"


def table(found: dict[str, Result]) -> str:
    claimed = sorted(op for op, result in found.items() if result.claimed)
    part = sorted(op for op, result in found.items() if result.passed and not result.claimed)
    none = sorted(op for op, result in found.items() if not result.passed)
    untested = sorted(op for op in HANDLERS if "::" not in op and op not in found)
    lines = ["| operator | passed | refused |", "|---|---|---|"]
    lines += [f"| `{op}` | {len(found[op].passed)} | |" for op in claimed]
    for op in part:
        why = "; ".join(f"{text} ({count})" for text, count in counted(found[op].refused))
        lines.append(f"| `{op}` | {len(found[op].passed)} | {len(found[op].refused)}: {why} |")
    passed, refused = (sum(len(getattr(r, name)) for r in found.values()) for name in ("passed", "refused"))
    head = (
        f"With onnx {onnx.__version__}, {len(claimed)} operators pass all of their tests and {len(part)} some of them; "
        f"{passed} tests pass, {refused} are refused, those of operators without a counterpart included."
    )
    names = ", ".join(f"`{op}`" for op in none)
    others = ", ".join(f"`{op}`" for op in untested)
    tail = f"Refused as a whole: {names}.\n\nSupported, without a test of these dtypes in onnx: {others or 'none'}."
    return f"{head}\n\n" + "\n".join(lines) + f"\n\n{tail}\n"


def counted(refused: dict[str, str]) -> list[tuple[str, int]]:
    reasons: dict[str, int] = defaultdict(int)
    for text in refused.values():
        reasons[text.replace("|", "/")] += 1
    return sorted(reasons.items())


BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def written(text: str, found: dict[str, Result]) -> str:
    """The page with the table of these results."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table(found) + END + rest.partition(END)[2]


if __name__ == "__main__":
    found = results()
    for op, result in sorted(found.items()):
        for name, text in result.wrong.items():
            print(f"{op} {name}: {text[:300]}", file=sys.stderr)
    TABLE.write_text(written(TABLE.read_text(), found))
    print(table(found).splitlines()[0])
