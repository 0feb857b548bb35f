"""One-operator graphs of operators over pictures and of recurrent ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from op_cases import INF, NAN, Case, Fixed, floats


def window(kernel, stride=(1, 1), dilation=(1, 1), pads=(0, 0, 0, 0)) -> dict[str, list[int]]:
    return {"kernel": list(kernel), "stride": list(stride), "dilation": list(dilation), "pads": list(pads)}


WINDOWS = {
    "same": window((3, 3), pads=(1, 1, 1, 1)),
    "valid": window((2, 3)),
    "strided": window((3, 5), (2, 3), pads=(0, 2, 1, 1)),
    "dilated": window((3, 2), (1, 2), (2, 3), (4, 0, 0, 3)),
    "point": window((1, 1), (2, 2)),
    "column": window((5, 1), pads=(2, 0, 2, 0)),
    "outside": window((3, 3), (4, 4), pads=(6, 5, 3, 7)),
}


# Of depthwise convolutions in int8, over pictures [batch, height, width, channels].
LARGE_WINDOWS = {
    "5x5": (window((5, 5), pads=(2, 2, 2, 2)), (2, 9, 13, 40)),
    "5x5-large": (window((5, 5), pads=(2, 2, 2, 2)), (1, 40, 40, 64)),
    "5x5-small": (window((5, 5), pads=(2, 2, 2, 2)), (5, 3, 2, 24)),
    "5x5-few-channels": (window((5, 5), pads=(2, 2, 2, 2)), (1, 30, 30, 3)),
    "7x7": (window((7, 7), pads=(3, 3, 3, 3)), (2, 14, 14, 33)),
    "7x7-strided": (window((7, 7), (2, 2), pads=(2, 3, 4, 1)), (1, 21, 20, 32)),
    "7x7-dilated": (window((7, 7), (1, 1), (2, 3), (6, 9, 6, 9)), (1, 17, 19, 16)),
    "9x3": (window((9, 3), (1, 2), pads=(0, 5, 9, 0)), (2, 12, 31, 17)),
    "3x11": (window((3, 11), (5, 3), (2, 1), (3, 10, 0, 12)), (1, 16, 9, 8)),
    "no-pads": (window((6, 8)), (1, 6, 16, 16)),
    "too-large-strided": (window((6, 8), (9, 40)), (1, 9, 5, 16)),
    "too-large": (window((6, 8)), (1, 5, 16, 16)),
    "mostly-outside": (window((5, 5), (3, 4), pads=(11, 9, 8, 7)), (1, 2, 3, 5)),
    "column": (window((5, 1), pads=(2, 0, 2, 0)), (1, 9, 5, 4)),
    "empty": (window((5, 5), pads=(2, 2, 2, 2)), (1, 0, 7, 4)),
    "no-pictures": (window((5, 5), pads=(2, 2, 2, 2)), (0, 6, 7, 4)),
}


def pictures() -> Iterator[Case]:
    for precision in ("f32", "f16", "int8", "int4"):
        for note, attributes in WINDOWS.items():
            taps = attributes["kernel"][0] * attributes["kernel"][1]
            w, bias = Fixed(floats(19, 8 * taps), precision), Fixed(floats(19))
            yield Case("conv2d", f"{precision}-{note}", [floats(2, 7, 11, 8), w, bias],
                       {**attributes, "activation": "relu"}, {0: ("batch", "height", "width", 8)})  # fmt: skip
        w = Fixed(floats(70, 9 * 36) / 4, precision)
        operands = [floats(1, 20, 60, 36), w, Fixed(floats(70)), floats(1, 20, 60, 70)]
        yield Case("conv2d", f"{precision}-large", operands, {**WINDOWS["same"], "activation": "silu"})
        for groups, n in ((2, 32), (3, 12), (9, 9)):
            if precision in ("int8", "int4") and 36 // groups % 4:
                continue
            w = Fixed(floats(n, 9 * 36 // groups) / 4, precision)
            operands = [floats(2, 5, 6, 36), w, Fixed(floats(n)), floats(2, 5, 6, n)]
            yield Case("conv2d", f"{precision}-groups-{groups}", operands, {**WINDOWS["same"], "groups": groups})
        x, w = floats(2, 4, 5, 8), Fixed(floats(6, 72), precision)
        x[0, 3, 2, 1], x[0, 2], x[1, 1, 0, 0] = NAN, 0, INF
        yield Case("conv2d", f"{precision}-special", [x, w], WINDOWS["same"])
        for shape in ((1, 0, 4, 8), (1, 4, 0, 8), (0, 4, 4, 8), (1, 1, 1, 8)):
            note = f"{precision}-{'x'.join(map(str, shape))}"
            yield Case("conv2d", note, [floats(*shape), w], WINDOWS["same"], {0: ("batch", "height", "width", 8)})
    yield Case("conv2d", "three-channels", [floats(1, 9, 9, 3), Fixed(floats(17, 27))], WINDOWS["same"])


def channels_alone() -> Iterator[Case]:
    for precision in ("f32", "f16"):
        for note, attributes in WINDOWS.items():
            taps = attributes["kernel"][0] * attributes["kernel"][1]
            w, bias = Fixed(floats(taps, 40), precision), Fixed(floats(40))
            yield Case("depthwise_conv2d", f"{precision}-{note}", [floats(2, 9, 13, 40), w, bias],
                       {**attributes, "activation": "relu"}, {0: ("batch", "height", "width", 40)})  # fmt: skip
    for note, (attributes, shape) in LARGE_WINDOWS.items():
        kernel, channels = attributes["kernel"], shape[-1]
        w, bias = Fixed(floats(kernel[0] * kernel[1], channels), "int8"), Fixed(floats(channels))
        yield Case("depthwise_conv2d", f"int8-{note}", [floats(*shape), w, bias],
                   {**attributes, "activation": "relu"}, {0: ("batch", "height", "width", channels)})  # fmt: skip
    x, w = floats(3, 6, 7, 20), Fixed(floats(25, 20), "int8")
    x[0, 3, 2, 1], x[1, 2, 2, 17], x[2, 1, 1, 19] = NAN, INF, -INF
    x[1, :, :, 2], x[2, :, :, 5], x[2, :, :, 6] = 0, 0.7, 1e-31
    for activation in ("none", "silu"):
        attributes = {**LARGE_WINDOWS["5x5"][0], "activation": activation}
        yield Case("depthwise_conv2d", f"int8-special-{activation}", [x, w], attributes)
    w = Fixed(floats(9, 64))
    yield Case("depthwise_conv2d", "large", [floats(2, 48, 48, 64), w], {**WINDOWS["same"], "activation": "gelu"})
    yield Case("depthwise_conv2d", "one-line", [floats(1, 1, 700, 64), w], WINDOWS["same"])
    for shape in ((1, 0, 4, 64), (1, 4, 0, 64), (1, 1, 1, 64)):
        yield Case("depthwise_conv2d", "x".join(map(str, shape)), [floats(*shape), w], WINDOWS["same"],
                   {0: ("batch", "height", "width", 64)})  # fmt: skip


def pools() -> Iterator[Case]:
    for mode in ("max", "mean"):
        for note, attributes in WINDOWS.items():
            for number, counted in enumerate(([0, 0, 0, 0], attributes["pads"], [1, 0, 0, 2])):
                options = {**attributes, "mode": mode, "counted": counted}
                yield Case("pool2d", f"{mode}-{note}-{number}", [floats(2, 7, 11, 5)], options)
        none = {"mode": mode, "counted": [0, 0, 0, 0]}
        yield Case("pool2d", f"{mode}-wide", [floats(1, 33, 33, 70)], {**window((2, 2), (2, 2)), **none})
        yield Case("pool2d", f"{mode}-empty", [floats(1, 0, 3, 4)], {**WINDOWS["same"], **none}, {0: (1, "h", "w", 4)})
        x = floats(1, 3, 3, 2)
        x[0, 0, 0, 0] = NAN
        yield Case("pool2d", f"{mode}-nan", [x], {**WINDOWS["same"], **none})


def sampled() -> Iterator[Case]:
    def rows(size: int, taps: int, old: int) -> list[Fixed]:
        return [
            Fixed((np.arange(size * taps).reshape(size, taps) * 7 % old).astype(np.int32)),
            Fixed(floats(size, taps)),
        ]

    yield Case("resample", "height", [floats(2, 5, 6, 8), *rows(9, 2, 5)], {"axis": 1}, {0: ("n", 5, "w", 8)})
    yield Case("resample", "width", [floats(2, 5, 6, 8), *rows(3, 4, 6)], {"axis": 2})
    yield Case("resample", "last", [floats(3, 40), *rows(90, 2, 40)], {"axis": -1})
    yield Case("resample", "large", [floats(1, 64, 64, 32), *rows(128, 2, 64)], {"axis": 1})
    yield Case("resample", "no-rows", [floats(2, 5, 0), *rows(4, 2, 5)], {"axis": 1}, {0: ("n", 5, "w")})
    yield Case("resample", "empty", [floats(0, 5, 3), *rows(4, 2, 5)], {"axis": 1}, {0: ("n", 5, 3)})


def recurrent() -> Iterator[Case]:
    for op, gates in (("gru", 3), ("lstm", 4), ("rnn", 1)):
        for precision in ("f32", "f16", "int8"):
            for width, batch, time in ((5, 3, 4), (16, 1, 7), (64, 33, 3), (128, 2, 2)):
                w, bias = Fixed(floats(gates * width, width) / 8, precision), Fixed(floats(gates * width))
                x, state = floats(time, batch, gates * width), floats(batch, width)
                cell = [floats(batch, width)] if op == "lstm" else []
                note = f"{precision}-{width}-{batch}"
                shapes = {0: ("time", "batch", gates * width), 3: ("batch", width), 4: ("batch", width)}
                yield Case(op, note, [x, w, bias, state, *cell], {}, shapes)
                yield Case(op, f"{note}-reverse", [x, w], {"reverse": 1}, {0: ("time", "batch", gates * width)})
                if op == "gru":
                    yield Case(op, f"{note}-before", [x, w, bias, state], {"reset_after": 0}, shapes)
                if op == "rnn":
                    yield Case(op, f"{note}-relu", [x, w, bias, state], {"activation": "relu"}, shapes)
                if op == "lstm":
                    peepholes = Fixed(floats(3 * width))
                    yield Case(op, f"{note}-peepholes", [x, w, bias, state, *cell, peepholes], {}, shapes)
        w = Fixed(floats(gates * 8, 8))
        for shape in ((0, 2, gates * 8), (2, 0, gates * 8)):
            yield Case(op, f"empty-{shape[0]}", [floats(*shape), w], {}, {0: ("time", "batch", gates * 8)})


def largest() -> Iterator[Case]:
    for axis in (0, 1, -1):
        for attributes in ({}, {"keepdims": 1}, {"last": 1}):
            x = np.round(floats(4, 5, 6))
            yield Case("argmax", f"{axis}-{'-'.join(attributes) or 'plain'}", [x], {"axis": axis, **attributes})
    x = floats(3, 7, special=True)
    yield Case("argmax", "special", [x], {"axis": 1})
    yield Case("argmax", "empty", [floats(0, 7)], {"axis": 1}, {0: ("n", 7)})
