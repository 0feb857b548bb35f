"""What the language model of Pocket TTS computes, in float: activations to choose precisions by and to report on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .evaluate import evaluate
from .ir import Graph
from .pocket_config import Config
from .source import Feed, Tower

LATENTS = 24  # behind each text; the models' latents have mean 0 and variance 1


def attended(qkv: np.ndarray, heads: int, kv_heads: int, width: int, period: float) -> np.ndarray:
    """Attention of all rows of a sequence to themselves and those before: [T, (heads + 2 kv_heads) width] to
    [T, heads width]."""
    rows = len(qkv)
    q = qkv[:, : heads * width].reshape(rows, heads, width)
    k, v = (part.reshape(rows, kv_heads, width) for part in np.split(qkv[:, heads * width :], 2, axis=1))
    angles = np.arange(rows)[:, None, None] * period ** (-np.arange(0, width, 2) / width)

    def turned(x: np.ndarray) -> np.ndarray:
        a, b = x[..., ::2], x[..., 1::2]
        pairs = [a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)]
        return np.stack(pairs, axis=-1).reshape(x.shape)

    k, v = (np.repeat(part, heads // kv_heads, axis=1) for part in (turned(k), v))
    scores = np.einsum("qhc,khc->hqk", turned(q), k) / np.sqrt(width)
    scores += np.triu(np.full((rows, rows), -np.inf), 1)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khc->qhc", weights, v).reshape(rows, heads * width).astype(np.float32)


def reference_of(graph: Graph) -> Callable[[Feed], Mapping[str, np.ndarray]]:
    return lambda feed: evaluate(graph, feed)


def calibrate(towers: Sequence[Tower], config: Config, sequences: Sequence[Sequence[int]]) -> None:
    """Gives each layer of the language model the inputs that sequences of tokens lead to; the last one is for the
    report."""
    settings = config.flow_lm.transformer
    heads, kv_heads = settings.num_heads, settings.num_kv_heads or settings.num_heads
    width = (settings.attn_dim or settings.d_model) // heads
    by_name = {tower.graph.name: tower for tower in towers}
    generator = np.random.default_rng(0)
    for ids in sequences:
        latents = generator.standard_normal((1, LATENTS, config.mimi.quantizer.dimension)).astype(np.float32)
        text = evaluate(by_name["lm.text"].graph, {"ids": np.array([ids], np.int64)})["x"]
        x = np.concatenate([text, evaluate(by_name["lm.latent"].graph, {"latent": latents})["x"]], axis=1)
        feed = {"x": x}
        for place in range(settings.num_layers + 1):
            tower = by_name[f"lm.{place}"]
            tower.feeds = [*tower.feeds, feed]
            tower.reference = reference_of(tower.graph)
            made = evaluate(tower.graph, feed)
            if place < settings.num_layers:
                rows = attended(made["qkv"][0], heads, kv_heads, width, float(settings.max_period))
                feed = {"attended": rows[None], "x": made.get("y", x)}
    for tower in towers:
        if tower.feeds:
            tower.checks, tower.feeds = tower.feeds[-1:], tower.feeds[:-1] or tower.feeds
