"""Which layers of Pocket TTS' language model stay in int8 where others are int4: by what rounding each of them does to
the latents that are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .evaluate import evaluate
from .ir import Graph
from .packing import GROUP, pack_gemm_int4, quantize_int4, unpack
from .pocket_calibration import LATENTS, attended
from .pocket_config import FLOW_TIMES, Config
from .source import Tower

# What latents keep of signal, each step given the right ones before. The tables of docs/pocket.md ask for 15 and 25 dB.
LEAST_DB = {"int4": 17.0, "auto": 27.0}
DRAWN = 12  # latents that are compared, of those behind the text
DEVIATION = 0.5  # of the noise


def rounded(weight: np.ndarray) -> np.ndarray:
    return unpack(pack_gemm_int4(*quantize_int4(weight), weight.shape))


class LatentMeter:
    """Draws latents behind a calibration text, with any weights replaced."""

    def __init__(self, towers: Sequence[Tower], config: Config):
        self.graphs = {tower.graph.name: tower.graph for tower in towers}
        self.settings, self.kind = config.flow_lm.transformer, config.flow_lm.flow.type
        (feed,) = next(tower for tower in towers if tower.graph.name == "lm.0").feeds[:1]
        self.noise = DEVIATION * np.random.default_rng(1).standard_normal((DRAWN, config.mimi.quantizer.dimension))
        self.feeds = [dict(feed)]
        for place in range(self.settings.num_layers):
            self.feeds.append(self.step(place, self.feeds[-1], {}))
        self.plain = self.draw(self.feeds[-1], {})

    def step(self, place: int, feed: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]) -> dict:
        """What the next tower reads."""
        t = self.settings
        made = evaluate(self.graphs[f"lm.{place}"], feed, constants=constants)
        width = (t.attn_dim or t.d_model) // t.num_heads
        rows = attended(made["qkv"][0], t.num_heads, t.num_kv_heads or t.num_heads, width, float(t.max_period))
        return {"attended": rows[None], "x": made.get("y", feed["x"])}

    def draw(self, feed: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray]) -> np.ndarray:
        """Latents [DRAWN, width], from what the last tower reads."""
        y = evaluate(self.graphs[f"lm.{self.settings.num_layers}"], feed, constants=constants)["y"]
        kept = np.ascontiguousarray(y[:, -LATENTS :: LATENTS // DRAWN])
        hidden = evaluate(self.graphs["lm.out"], {"y": kept})["hidden"]
        times = {}
        if FLOW_TIMES[self.kind]:
            ends = {"start": np.zeros((1, 1, 1), np.float32), "end": np.ones((1, 1, 1), np.float32)}
            wanted = self.graphs["lm.time"].inputs
            times = evaluate(self.graphs["lm.time"], {name: ends[name] for name in wanted})
        drawn = []
        for row in range(DRAWN):
            noise = self.noise[row].astype(np.float32)[None, None]
            feed = {"hidden": hidden[:, row : row + 1], "x": noise, **times}
            flow = evaluate(self.graphs["lm.flow"], feed)["flow"]
            drawn.append((flow if self.kind == "drifting" else noise + flow)[0, 0])
        return np.stack(drawn).astype(np.float64)

    def noise_share(self, place: int, name: str) -> float:
        """Power of the error that rounding one weight makes, relative to that of the latents."""
        constants = {name: rounded(self.graphs[f"lm.{place}"].constants[name])}
        last = self.settings.num_layers
        if place == last:
            got = self.draw(self.feeds[last], constants)
        else:
            feed = self.step(place, self.feeds[place], constants)
            for later in range(place + 1, last):
                feed = self.step(later, feed, {})
            got = self.draw(feed, {})
        return float(np.square(got - self.plain).sum() / np.square(self.plain).sum())


def wide_weights(graph: Graph) -> list[str]:
    """Matrices of a layer that have groups to be rounded in."""
    names = [node.inputs[1] for node in graph.nodes if node.op == "linear"]
    return [name for name in names if name in graph.constants and graph.constants[name].shape[1] >= GROUP]


def kept_in_int8(towers: Sequence[Tower], config: Config, plan: str) -> set[str]:
    """Weights that must not be int4 for the latents to keep LEAST_DB[plan]. Errors of different weights are as good as
    independent, so their powers add up; those go first that a byte saved costs most."""
    meter = LatentMeter(towers, config)
    shares: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for place in range(config.flow_lm.transformer.num_layers + 1):
        graph = meter.graphs[f"lm.{place}"]
        for name in wide_weights(graph):
            shares[name], sizes[name] = meter.noise_share(place, name), graph.constants[name].size
    allowed = 10 ** (-LEAST_DB[plan] / 10)
    kept: set[str] = set()
    for name in sorted(shares, key=lambda name: shares[name] / sizes[name], reverse=True):
        if sum(share for other, share in shares.items() if other not in kept) <= allowed:
            break
        kept.add(name)
    return kept
