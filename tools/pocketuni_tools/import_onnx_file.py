"""Imports an ONNX file together with inputs to calibrate on and a runtime to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .calibration import read_calibration
from .ir import Graph
from .preprocess import read_preprocess
from .source import Feed, MissingPackage, Outputs, Source, Tower, Unrunnable

MADE_UP_SIZES = (2, 12, 3, 5)  # of named dimensions, in order
CHECKED = 5  # every fifth batch is kept for the report


def made_up(graph: Graph, seed: int = 0) -> Feed:
    """Inputs to compare with when there are no real ones: normal floats, integers 0 and 1 (valid for any table and as
    a mask), true."""
    random = np.random.default_rng(seed)
    sizes = {dim: MADE_UP_SIZES[place % len(MADE_UP_SIZES)] for place, dim in enumerate(graph.named_dims())}
    feed = {}
    for name in graph.inputs:
        value = graph.values[name]
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in value.shape]
        if value.dtype == "float32":
            feed[name] = random.standard_normal(shape).astype(np.float32)
        elif value.dtype == "bool":
            feed[name] = np.ones(shape, bool)
        else:
            array = random.integers(0, 2, shape)
            array[..., :1] = 1  # a mask keeps something
            feed[name] = array.astype(value.dtype)
    return feed


def reference_of(
    path: Path, graph: Graph, fixed: Mapping[str, np.ndarray], carried: str | None
) -> Callable[[Feed], Outputs] | None:
    """Runs the file with ONNX Runtime, else with ONNX's own evaluator."""
    from onnx import load
    from onnx.helper import tensor_dtype_to_np_dtype

    names = list(graph.outputs) if carried is None else list(graph.outputs)[:-1]
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        sources = [output.name for output in session.get_outputs()]
        run = session.run
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        sources = [output.name for output in load(path, load_external_data=False).graph.output]

        def run(names: list[str], feed: Feed) -> list[np.ndarray]:
            try:
                with np.errstate(all="ignore"):
                    return ReferenceEvaluator(str(path)).run(names, feed)
            except Exception as error:  # it knows neither every operator nor every shape
                raise Unrunnable(str(error)) from error

    if len(sources) != len(names):
        return None
    constants = {}
    if fixed:
        inputs = load(path, load_external_data=False).graph.input
        kinds = {item.name: tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type) for item in inputs}
        constants = {item: np.asarray(value, kinds[item]) for item, value in fixed.items()}

    def outputs(feed: Feed) -> Outputs:
        given = {**feed, **constants}
        if carried is None:
            return dict(zip(names, run(sources, given), strict=True))
        item = carried.partition("=")[0]
        before = given.pop(f"{item}.before")
        given[item] = np.concatenate([before, given[item]], axis=-1)
        results = dict(zip(names, run(sources, given), strict=True))
        return {**results, f"{item}.after": given[item][..., -before.shape[-1] :]}

    return outputs


def import_onnx_file(
    path: str | Path,
    inputs: str | Path | None = None,
    states: Mapping[str, str] | None = None,
    fixed: Mapping[str, np.ndarray] | None = None,
    carried: str | None = None,
    name: str = "main",
    preprocess: str | None = None,
) -> Source:
    """Reads an ONNX file into one tower.

    inputs: calibration inputs, an .npz or a folder (`calibration.py`), which is read as `preprocess` says; without them
    weights are rounded by themselves, and the report compares on made-up inputs.
    states: input -> output that the next run takes for it; None: the pairs that are evident. fixed: inputs that are
    numbers. carried: samples kept from one chunk for the next (`onnx_states.carry`).
    Raises ValueError or OSError for files that cannot be read, `UnsupportedOp` for operators that have no counterpart,
    `MissingPackage` without onnx.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingPackage("onnx", "importing ONNX files") from error
    from .import_onnx import import_onnx
    from .onnx_states import evident, set_states

    graph = import_onnx(path, name, fixed, carried)
    if carried is not None and states is None:
        carrying = carried.partition("=")[0]
        states = evident(graph) | {f"{carrying}.before": f"{carrying}.after"}
    set_states(graph, states)
    settings = read_preprocess(preprocess, graph) if preprocess else {}
    feeds: Sequence[Feed] = read_calibration(Path(inputs), graph, settings) if inputs else []
    checks = feeds[::CHECKED] or [made_up(graph)]
    feeds = [feed for place, feed in enumerate(feeds) if place % CHECKED] or feeds
    meta = {"name": path.stem, "licence": "unknown", "provenance": {"source": "onnx", "model": path.name}}
    reference = reference_of(path, graph, fixed or {}, carried)
    return Source(path.stem, [Tower(graph, feeds, checks, reference)], meta)
