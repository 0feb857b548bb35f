"""Rounding of weights: better than plain where calibration inputs are given, exact in storage, within its bounds."""

from pathlib import Path

import numpy as np
import pytest
from pocketuni_tools import gptq, packing
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.packing import unpack
from pocketuni_tools.quantize import PLANS, as_seen, quantize, weights_of
from pocketuni_tools.report import cosines, errors
from pocketuni_tools.sensitivity import MARGIN, TARGET
from pocketuni_tools.source import Tower
from pocketuni_tools.texts import calibration_texts
from pocketuni_tools.writer import as_read

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "text"


def correlated(rows, width, seed=0):
    """Inputs of which a few directions hold most, like activations."""
    random = np.random.default_rng(seed)
    low = random.standard_normal((rows, 24)) @ random.standard_normal((24, width))
    return (low + 0.5 * random.standard_normal((rows, width))).astype(np.float32)


def weight(outputs, inputs, seed=1):
    return (np.random.default_rng(seed).standard_normal((outputs, inputs)) * 0.1).astype(np.float32)


def product_error(seen, w, x):
    return np.linalg.norm(x @ (seen - w).T) / np.linalg.norm(x @ w.T)


@pytest.mark.parametrize("inputs", [64, 96, 384])
def test_int4_with_compensation_beats_plain_rounding_on_new_inputs(inputs):
    w, x, fresh = weight(80, inputs), *np.split(correlated(3000, inputs), [2000])
    compensated = unpack(packing.pack_gemm_int4(*gptq.round_int4(w, x), w.shape))
    plain = unpack(packing.pack_gemm_int4(*packing.quantize_int4(w), w.shape))
    assert product_error(compensated, w, fresh) < 0.8 * product_error(plain, w, fresh)
    assert product_error(plain, w, fresh) < 0.15


def test_int8_with_compensation_beats_plain_rounding_on_new_inputs():
    w, x, fresh = weight(80, 100), *np.split(correlated(3000, 100), [2000])
    compensated = unpack(packing.pack_gemm_int8(*gptq.round_int8(w, x)))
    plain = unpack(packing.pack_gemm_int8(*packing.quantize_int8(w)))
    assert product_error(compensated, w, fresh) < 0.9 * product_error(plain, w, fresh)
    assert product_error(plain, w, fresh) < 0.015


def test_a_spectrum_in_front_of_a_logarithm_keeps_its_quiet_parts():
    """Loud and quiet bins come from one row: rounded to int8, the quiet ones would be noise."""
    bins, samples = np.arange(1, 33)[:, None], np.arange(256)
    graph = Graph("main")
    graph.add_input("x", "float32", (1, 256))
    for part, turn in (("real", np.cos), ("imaginary", np.sin)):
        graph.add_constant(f"{part}.kernel", turn(2 * np.pi * bins * samples / 256).astype(np.float32))
        graph.add_node("linear", ["x", f"{part}.kernel"], [Value(part, "float32", (1, 32))])
        graph.add_node("mul", [part, part], [Value(f"{part}.square", "float32", (1, 32))])
    graph.add_node("add", ["real.square", "imaginary.square"], [Value("power", "float32", (1, 32))])
    packed, _ = quantize([Tower(graph)], "int8")
    wave = np.sin(2 * np.pi * 4 * samples / 256) + 1e-3 * np.sin(2 * np.pi * 20 * samples / 256)

    def decibels(kernels):
        return 10 * np.log10(sum((wave @ kernel.T) ** 2 for kernel in kernels))

    exact = decibels([graph.constants[f"{part}.kernel"] for part in ("real", "imaginary")])
    stored = decibels([unpack(packed[f"{part}.kernel"]) for part in ("real", "imaginary")])
    assert exact[3] - exact[19] == pytest.approx(60, abs=0.1)
    assert np.abs(stored - exact)[[3, 19]].max() < 0.5


def test_int4_scales_are_stored_exactly_and_odd_widths_are_padded():
    w, x = weight(17, 70), correlated(500, 70)
    q, scale = gptq.round_int4(w, x)
    assert q.shape == (17, 96) and scale.shape == (17, 3) and q.min() >= -8 and q.max() <= 7
    np.testing.assert_array_equal(scale, scale.astype(np.float16))
    exact = (q.reshape(17, 3, 32) * scale[..., None]).reshape(17, 96)[:, :70]
    np.testing.assert_array_equal(unpack(packing.pack_gemm_int4(q, scale, w.shape)), exact)


def test_inputs_that_are_always_zero_do_no_harm():
    w, x = weight(32, 64), correlated(300, 64)
    x[:, 10:20] = 0
    for seen in (
        unpack(packing.pack_gemm_int4(*gptq.round_int4(w, x), w.shape)),
        unpack(packing.pack_gemm_int8(*gptq.round_int8(w, x))),
    ):
        assert np.isfinite(seen).all() and product_error(seen, w, x) < 0.1
    silent = np.zeros((50, 64), np.float32)
    assert np.abs(unpack(packing.pack_gemm_int8(*gptq.round_int8(w, silent))) - w).max() < 0.01


def test_more_outputs_do_not_change_how_one_is_rounded():
    w, x = weight(48, 64), correlated(400, 64)
    q, scale = gptq.round_int4(w, x)
    q_part, scale_part = gptq.round_int4(w[:16], x)
    assert (q[:16] == q_part).mean() > 0.999  # products of other widths may differ in the last bit
    assert (scale[:16] == scale_part).mean() > 0.99


# Whole towers.


def network(seed=2, width=64, layers=4):
    """ids -> embedding -> residual blocks -> unit length."""
    random = np.random.default_rng(seed)
    graph = Graph("main")
    graph.add_input("ids", "int64", ("batch", "time"))
    shape = ("batch", "time", width)
    table = graph.add_constant("table", correlated(200, width, seed))
    (x,) = graph.add_node("embedding", ["ids", table], [Value("x", "float32", shape)])
    for place in range(layers):
        up = graph.add_constant(f"up{place}", (random.standard_normal((128, width)) * 0.12).astype(np.float32))
        down = graph.add_constant(f"down{place}", (random.standard_normal((width, 128)) * 0.12).astype(np.float32))
        (y,) = graph.add_node("layer_norm", [x], [Value("n", "float32", shape)], eps=1e-5)
        hidden = Value("h", "float32", (*shape[:2], 128))
        (y,) = graph.add_node("linear", [y, up], [hidden], activation="gelu")
        (x,) = graph.add_node("linear", [y, down, None, x], [Value("x", "float32", shape)])
    (x,) = graph.add_node("l2_normalize", [x], [Value("out", "float32", shape)])
    graph.outputs = [x]
    graph.check()
    return graph


def tower(graph=None):
    random = np.random.default_rng(5)
    feeds = [{"ids": random.integers(0, 200, (4, 8))} for _ in range(12)]
    return Tower(graph or network(), feeds[:8], feeds[8:])


def cosine_and_bytes(item, plan):
    packed, notes = quantize([item], plan)
    seen = {name: unpack(tensor) for name, tensor in packed.items()}
    integer = {name for name, tensor in packed.items() if tensor.encoding in ("gemm_i8", "gemm_i4")}
    values = []
    for feed in item.checks:
        (wanted,) = evaluate(item.graph, feed).values()
        (got,) = evaluate(item.graph, feed, constants=seen, quantized=integer).values()
        values.append(cosines(got, wanted))
    return np.concatenate(values).mean(), sum(len(tensor.data) for tensor in packed.values()), packed, notes


@pytest.fixture(scope="module")
def plans():
    return {plan: cosine_and_bytes(tower(), plan) for plan in PLANS}


def test_plans_trade_size_for_error(plans):
    cosine = {plan: result[0] for plan, result in plans.items()}
    size = {plan: result[1] for plan, result in plans.items()}
    assert size["fp32"] > size["fp16"] > size["int8"] > size["auto"] >= size["int4"]
    assert cosine["fp32"] == pytest.approx(1, abs=1e-6) and cosine["fp16"] > 0.99999
    assert cosine["int8"] > 0.9995 and cosine["int4"] > 0.98
    assert size["int4"] < 0.15 * size["fp32"]


def test_calibration_helps_int4(plans):
    blind = tower()
    blind.feeds = []
    assert 1 - plans["int4"][0] < 0.9 * (1 - cosine_and_bytes(blind, "int4")[0])


def test_auto_stays_within_its_bound_and_uses_what_it_measured(plans):
    cosine, size, packed, notes = plans["auto"]
    measured = notes["auto"]["main"]
    assert cosine >= TARGET + MARGIN
    assert measured["error"] == pytest.approx(1 - cosine, abs=1e-6)
    assert set(measured["harm"]) == set(weights_of(network(), True))
    assert {tensor.encoding for tensor in packed.values()} & {"gemm_i4", "rows_i4"}


@pytest.mark.parametrize("plan", ["auto", "int8"])
def test_float16_is_left_to_what_int8_would_break(plan):
    graph = network()
    # One input a thousand times the others: int8 activations of that layer lose all the rest.
    graph.constants["up1"][:, 3] *= 1e-3
    gamma = np.ones(64, np.float32)
    gamma[3] = 1e3
    name = graph.add_constant("gamma", gamma)
    norm = [node for node in graph.nodes if node.op == "layer_norm"][1]
    norm.inputs = [norm.inputs[0], name]
    graph.constants["down1"] *= 4
    blind = tower(graph)
    blind.feeds = []  # nothing to measure with: all becomes int8
    assert cosine_and_bytes(blind, "int8")[0] < TARGET
    cosine, _, packed, _ = cosine_and_bytes(tower(graph), plan)
    assert packed["up1"].encoding == "gemm_f16" and cosine >= TARGET


def test_auto_without_inputs_says_what_it_needs():
    item = tower()
    item.feeds = []
    with pytest.raises(ValueError, match="calibration"):
        quantize([item], "auto")


def test_unknown_plan_is_refused():
    with pytest.raises(ValueError, match="'int3' is not one of fp32"):
        quantize([tower()], "int3")


def test_tables_that_have_no_room_for_groups_become_int8():
    graph = Graph("main")
    graph.add_input("ids", "int64", ("batch",))
    table = graph.add_constant("table", weight(300, 40))
    graph.outputs = graph.add_node("embedding", ["ids", table], [Value("x", "float32", ("batch", 40))])
    packed, _ = quantize([Tower(graph)], "int4")
    assert packed["table"].encoding == "rows_i8"


def test_small_weights_stay_as_they_are():
    graph = Graph("main")
    graph.add_input("x", "float32", ("batch", 8))
    w = graph.add_constant("w", weight(8, 8))
    graph.outputs = graph.add_node("linear", ["x", w], [Value("y", "float32", ("batch", 8))])
    assert quantize([Tower(graph)], "int4")[0] == {}


def depthwise(kernel, stride=(1, 1), channels=32):
    graph, taps = Graph("main"), kernel[0] * kernel[1]
    graph.add_input("x", "float32", ("batch", 12, 12, channels))
    w = graph.add_constant("w", weight(taps, channels))
    pads = [kernel[0] // 2, kernel[1] // 2] * 2
    window = {"kernel": list(kernel), "stride": list(stride), "dilation": [1, 1], "pads": pads}
    graph.outputs = graph.add_node(
        "depthwise_conv2d", ["x", w], [Value("y", "float32", ("batch", *[None] * 3))], **window
    )
    feeds = [{"x": np.random.default_rng(2).standard_normal((3, 12, 12, channels)).astype(np.float32)}]
    return Tower(graph, feeds=feeds, checks=feeds)


@pytest.mark.parametrize("plan", ["int8", "int4", "auto"])
def test_large_depthwise_convolutions_become_int8(plan):
    tower = depthwise((5, 5))
    packed, _ = quantize([tower], plan)
    assert packed["w"].encoding == "gemm_i8" and packed["w"].dims == (32, 25)
    seen = as_read(tower.graph, packed)
    assert product_error(seen["w"], tower.graph.constants["w"], np.eye(32, dtype=np.float32)) < 0.01
    (got,), (want,) = (
        evaluate(tower.graph, tower.feeds[0], constants=constants, quantized=quantized).values()
        for constants, quantized in ((seen, {"w"}), ({}, ()))
    )
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    assert 0.001 < error < 0.015, "both x and w are rounded"


@pytest.mark.parametrize(
    "kernel, stride, rounded",
    [
        ((3, 3), (1, 1), False), ((5, 5), (2, 2), False), ((7, 7), (2, 2), True), ((7, 7), (1, 1), True),
        ((9, 3), (1, 1), True), ((31, 1), (1, 1), False), ((1, 31), (1, 1), True),
    ],
)  # fmt: skip
def test_depthwise_convolutions_that_gain_nothing_stay_float(kernel, stride, rounded):
    graph = depthwise(kernel, stride, 64).graph
    assert weights_of(graph, calibrated=True) == ({"w": "taps"} if rounded else {})


def test_rows_as_the_kernel_sees_them():
    x = correlated(5, 32)
    x[3] = 0
    seen = as_seen(x)
    assert np.abs(seen - x).max() <= np.abs(x).max() / 254 * 1.001 and not seen[3].any()


def test_errors_of_an_output():
    wanted = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    got = wanted + np.array([[0.0, 0.04], [0.0, 0.0]], np.float32)
    found = errors(got, wanted)
    assert found["max_abs"] == pytest.approx(0.04, rel=1e-5) and found["relative"] == pytest.approx(0.01, rel=1e-5)
    assert found["snr_db"] == pytest.approx(20 * np.log10(5 / 0.04), abs=1e-3)
    assert 0.9999 < found["cosine"] < 1


# Calibration text.


def test_calibration_sentences_are_many_and_different():
    texts = calibration_texts()
    assert len(texts) >= 200 and len(set(texts)) == len(texts)
    words = {word.lower() for text in texts for word in text.split()}
    assert len(words) > 1200


def test_calibration_and_evaluation_share_no_sentence():
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data/text, the evaluation sentences")

    def normal_form(text):
        return " ".join("".join(char if char.isalnum() else " " for char in text.lower()).split())

    evaluation = set()
    for path in [DATA / "ljspeech_sentences.txt", *sorted((DATA / "sts").glob("*.tsv"))]:
        for line in path.read_text(encoding="utf-8").splitlines():
            evaluation.update(normal_form(part) for part in line.split("\t"))
    assert len(evaluation) > 20000
    assert not {normal_form(text) for text in calibration_texts()} & evaluation


def test_files_of_calibration_text(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("one\n\n  two \n", encoding="utf-8")
    assert calibration_texts(path) == ["one", "two"]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        calibration_texts(path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="no text"):
        calibration_texts(path)
