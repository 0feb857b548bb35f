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
