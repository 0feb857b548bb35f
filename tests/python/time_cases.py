"""One-operator graphs of operators over time: kernels, strides, dilations, groups and paddings of every kind."""

from __future__ import annotations

from collections.abc import Iterator

from op_cases import INF, NAN, Case, Fixed, floats

SHAPE = {0: ("batch", "time", 8)}


def convolutions() -> Iterator[Case]:
    windows = {
        "same": {"taps": 5, "pad_left": 2, "pad_right": 2},
        "causal": {"taps": 4, "dilation": 3, "pad_left": 9},
        "valid": {"taps": 3},
        "strided": {"taps": 7, "stride": 3, "pad_left": 3, "pad_right": 1},
        "point": {"taps": 1, "stride": 2},
        "wide": {"taps": 3, "dilation": 7, "pad_left": 20, "pad_right": 20},
    }
    for precision in ("f32", "f16", "int8"):
        for note, window in windows.items():
            w = Fixed(floats(19, 8 * window["taps"]), precision)
            yield Case("conv1d", f"{precision}-{note}", [floats(2, 23, 8), w], window)
        w, bias = Fixed(floats(130, 3 * 36), precision), Fixed(floats(130))
        same = {"taps": 3, "pad_left": 1, "pad_right": 1}
        operands = [floats(1, 150, 36), w, bias, floats(1, 150, 130)]
        yield Case("conv1d", f"{precision}-long", operands, {**same, "activation": "relu"})
        yield Case("conv1d", f"{precision}-gelu", operands, {**same, "activation": "gelu"})
        for groups, n in ((2, 32), (3, 12), (4, 10 * 4), (9, 9)):
            if precision == "int8" and 36 // groups % 4:
                continue
            w = Fixed(floats(n, 3 * 36 // groups), precision)
            operands = [floats(2, 21, 36), w, Fixed(floats(n)), floats(2, 21, n)]
            attributes = {**same, "groups": groups, "activation": "relu"}
            yield Case("conv1d", f"{precision}-groups-{groups}", operands, attributes)
        w = Fixed(floats(6, 24), precision)
        x = floats(2, 9, 8)
        x[0, 3, 2], x[0, 7], x[1, 8, 0] = NAN, 0, INF
        yield Case("conv1d", f"{precision}-special", [x, w], same)
        for rows in (0, 1, 2):
            yield Case("conv1d", f"{precision}-{rows}-rows", [floats(2, rows, 8), w], {"taps": 3}, SHAPE)
        yield Case("conv1d", f"{precision}-no-batch", [floats(0, 5, 8), w], same, SHAPE)
    yield Case("conv1d", "one-channel", [floats(1, 40, 1), Fixed(floats(7, 9))], {"taps": 9, "stride": 2})


def depthwise() -> Iterator[Case]:
    for precision in ("f32", "f16"):
        w, bias = Fixed(floats(7, 40), precision), Fixed(floats(40))
        same = {"pad_left": 3, "pad_right": 3}
        yield Case("depthwise_conv1d", f"{precision}-same", [floats(2, 50, 40), w, bias], same)
        yield Case(
            "depthwise_conv1d", f"{precision}-silu", [floats(1, 900, 40), w, bias], {**same, "activation": "silu"}
        )
        yield Case("depthwise_conv1d", f"{precision}-causal", [floats(2, 31, 40), w], {"pad_left": 12, "dilation": 2})
        yield Case("depthwise_conv1d", f"{precision}-strided", [floats(2, 31, 40), w], {"stride": 3, "pad_right": 2})
        for rows in (0, 1, 6):
            operands = [floats(2, rows, 40), w, bias]
            yield Case("depthwise_conv1d", f"{precision}-{rows}-rows", operands, same, {0: ("batch", "time", 40)})
        yield Case("depthwise_conv1d", f"{precision}-too-short", [floats(1, 3, 40), w], {})


def transposed() -> Iterator[Case]:
    shapes = {
        "twice": {"taps": 4, "stride": 2, "cut_left": 1, "cut_right": 1},
        "odd": {"taps": 7, "stride": 3, "cut_left": 2, "cut_right": 1},
        "sparse": {"taps": 2, "stride": 5},
        "longer": {"taps": 5, "stride": 3, "cut_left": 1, "cut_right": -1},
        "dense": {"taps": 5, "stride": 1, "cut_left": 2, "cut_right": 2},
        "short": {"taps": 6, "stride": 4, "cut_left": 3, "cut_right": 9},
    }
    for precision in ("f32", "f16", "int8"):
        for note, window in shapes.items():
            count = -(-window["taps"] // window["stride"])
            w = Fixed(floats(window["stride"] * 9, count * 12), precision)
            activation = {**window, "activation": "relu"}
            yield Case("conv_transpose1d", f"{precision}-{note}", [floats(2, 17, 12), w, Fixed(floats(9))], activation)
            for rows in (0, 1, 2):
                operands = [floats(1, rows, 12), w]
                yield Case("conv_transpose1d", f"{precision}-{note}-{rows}", operands, window, {0: (1, "time", 12)})
        w = Fixed(floats(16, 2 * 64), precision)
        yield Case("conv_transpose1d", f"{precision}-long", [floats(1, 200, 64), w], {"taps": 4, "stride": 2})


def spectral() -> Iterator[Case]:
    for n_fft, hop in ((64, 16), (128, 64), (1024, 256), (256, 100), (512, 384), (64, 2), (4096, 1024)):
        attributes = {"n_fft": n_fft, "hop": hop}
        for rows in (1, 2, 40):
            x = floats(2, rows, n_fft + 2)
            x[..., n_fft // 2 + 1] = x[..., n_fft + 1] = 0.0
            yield Case("istft", f"{n_fft}-{hop}-{rows}", [x], attributes)
    yield Case("istft", "ignored-parts", [floats(1, 3, 66)], {"n_fft": 64, "hop": 16})
    yield Case("istft", "empty", [floats(1, 0, 66)], {"n_fft": 64, "hop": 16}, {0: (1, "time", 66)})
    voice = {"n_fft": 1024, "hop": 256, "mels": 80, "rate": 22050.0, "high": 8000.0}
    for samples in (0, 1, 255, 256, 300, 385, 512, 700, 5000):
        x = floats(2, samples) / 4
        yield Case("mel_spectrogram", f"voice-{samples}", [x], voice, {0: (2, "samples")})
    small = {"n_fft": 128, "hop": 40, "mels": 20, "rate": 8000.0, "low": 100.0, "floor": 0.01}
    yield Case("mel_spectrogram", "small", [floats(1, 1000)], small)
