"""Chunked runs of a small vocoder (convolutions, ConvNeXt blocks, inverse transform) against whole runs."""

import numpy as np
import pytest
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

N_FFT, HOP, WIDTH, HIDDEN, MELS = 128, 32, 32, 80, 20


def vocoder(blocks: int = 3) -> tuple[Graph, dict[str, str]]:
    """mel [1, frames, 20] and a style [1, 1, 32] -> samples [1, frames, 32]; precisions of its weights."""
    random = np.random.default_rng(3)
    graph, precisions = Graph("vocoder"), {}

    def weight(*shape, precision="int8"):
        array = np.asarray(random.normal(size=shape) / np.sqrt(shape[-1]), np.float32)
        name = graph.add_constant(f"w{len(graph.constants)}", array)
        precisions[name] = precision
        return name

    def node(op, inputs, width, **attributes):
        return graph.add_node(op, inputs, [Value("v", "float32", (1, "frames", width))], **attributes)[0]

    mel = graph.add_input("mel", "float32", (1, "frames", MELS))
    style = graph.add_input("style", "float32", (1, 1, WIDTH))
    x = node(
        "conv1d", [mel, weight(WIDTH, 7 * MELS), weight(WIDTH, precision="f32")], WIDTH, taps=7, pad_left=3, pad_right=3
    )
    for _ in range(blocks):
        y = node("depthwise_conv1d", [x, weight(7, WIDTH, precision="f16")], WIDTH, pad_left=3, pad_right=3)
        y = node("mul", [node("layer_norm", [y], WIDTH, eps=1e-6), style], WIDTH)
        y = node("linear", [y, weight(HIDDEN, WIDTH)], HIDDEN, activation="gelu")
        x = node("linear", [y, weight(WIDTH, HIDDEN), None, x], WIDTH)
    bins = node("linear", [x, weight(N_FFT + 2, WIDTH)], N_FFT + 2)
    graph.outputs = [node("istft", [bins], HOP, n_fft=N_FFT, hop=HOP)]
    return graph, precisions


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "vocoder.puni"
    graph, precisions = vocoder()
    write_model(path, [graph], precisions=precisions)
    return core.Model(str(path))


def inputs(frames: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(frames)
    mel, style = random.normal(size=(1, frames, MELS)), random.normal(size=(1, 1, WIDTH))
    return {"mel": mel.astype(np.float32), "style": style.astype(np.float32)}


@pytest.mark.parametrize("isa", core.usable_isas())
@pytest.mark.parametrize("frames", [0, 1, 2, 7, 100])
def test_chunks_are_the_whole(model, isa, frames):
    data = inputs(frames)
    (want,) = core.Session(model, "vocoder", 1, isa).run(data).values()
    for threads in (1, 3):
        stream = core.Stream(model, "vocoder", threads, isa)
        stream.set_fixed("style", data["style"])
        for size in (1, 3, 16, 50):
            parts = []
            for begin in range(0, frames, size):
                stream.push({"mel": data["mel"][:, begin : begin + size]})
                parts += stream.pull(size).values()
            stream.finish()
            while not stream.done:
                parts += stream.pull(size).values()
            got = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0, HOP), np.float32)
            assert got.shape == want.shape and got.tobytes() == want.tobytes()
            stream.reset()


def test_the_whole_is_what_the_operators_mean(model):
    graph, _ = vocoder()
    data = inputs(50)
    (want,) = evaluate(graph, data).values()
    (got,) = core.Session(model, "vocoder", 1).run(data).values()
    assert np.corrcoef(want.ravel(), got.ravel())[0, 1] > 0.999


def test_lookahead_is_what_the_first_rows_wait_for(model):
    stream, data = core.Stream(model, "vocoder", 1), inputs(30)
    assert stream.time_dim == "frames"
    reach = 3 + 3 * 3 + (N_FFT + HOP) // 2 // HOP - (1 if (N_FFT + HOP) // 2 % HOP == 0 else 0)
    assert (stream.lookahead, stream.receptive_field) == (reach, 2 * reach + 1)
    stream.set_fixed("style", data["style"])
    stream.push({"mel": data["mel"][:, : stream.lookahead]})
    assert stream.rows_ready == 0
    stream.push({"mel": data["mel"][:, stream.lookahead : stream.lookahead + 1]})
    assert stream.rows_ready == 1


def test_errors_name_the_input(model):
    stream, data = core.Stream(model, "vocoder", 1), inputs(4)
    with pytest.raises(ValueError, match="'style' has no time and must be set first"):
        stream.push({"mel": data["mel"]})
    with pytest.raises(ValueError, match="there is no input 'stile'"):
        stream.set_fixed("stile", data["style"])
    stream.set_fixed("style", data["style"])
    with pytest.raises(ValueError, match="'mel' is missing"):
        stream.push({"mell": data["mel"]})
    with pytest.raises(ValueError, match="no rows along 'frames'"):
        stream.push(data)
    with pytest.raises(ValueError, match="'mel': expected float32"):
        stream.push({"mel": data["mel"].astype(np.float64)})
