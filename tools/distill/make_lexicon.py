"""Makes what pronounces English in a voice model: the tower `g2p` and the blob `lexicon.en`.

    python -m distill.make_lexicon --work /path/with/checkpoints

The dictionary is stored only where the network and the rules of word formation are wrong about it, so a better network
makes a smaller file. Words are tried with the network as it will run, its matrices in int8. Prints sizes and the share
of words that need no entry; writes lexicon.en into the folder.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.packing import quantize_int8
from torch import Tensor, nn

from .g2p_net import LABELS, PHONE_IDS, PHONES, SLOTS, G2p, load_net, pronounce, read_cmudict
from .lexicon_blob import encode_lexicon

CMUDICT = Path(__file__).parents[3] / "shared/data/text/cmudict.dict"
EXTRA = Path(__file__).parent / "extra_words.dict"
SHORT = 5  # letters: how long a word in capitals may be to be looked up before it is spelled
Labels = tuple[int, ...]


def ids(text: str) -> Labels:
    return tuple(PHONE_IDS[phone] for phone in text.split())


def add_s(phones: Labels) -> Labels:
    last = PHONES[phones[-1] - 1]
    hissing = last in ("S", "Z", "SH", "ZH", "CH", "JH")
    return phones + ids("IH0 Z" if hissing else "S" if last in ("P", "T", "K", "F", "TH") else "Z")


def add_ed(phones: Labels) -> Labels:
    last = PHONES[phones[-1] - 1]
    hard = last in ("P", "K", "F", "TH", "S", "SH", "CH")
    return phones + ids("IH0 D" if last in ("T", "D") else "T" if hard else "D")


def adder(text: str) -> Callable[[Labels], Labels]:
    return lambda phones: phones + ids(text)


# The same as kEndings in csrc/speech/text_pronounce.cc: ending, what the stem has instead, what is said.
ENDINGS: list[tuple[str, str, Callable[[Labels], Labels]]] = [
    ("'s", "", add_s), ("ies", "y", add_s), ("es", "e", add_s), ("s", "", add_s), ("es", "", add_s),
    ("ied", "y", add_ed), ("ed", "e", add_ed), ("ed", "", add_ed),
    ("ing", "", adder("IH0 NG")), ("ing", "e", adder("IH0 NG")),
    ("ly", "", adder("L IY0")), ("ness", "", adder("N AH0 S")), ("less", "", adder("L AH0 S")),
]  # fmt: skip


def from_stem(word: str, stored: Mapping[str, Labels]) -> Labels | None:
    """What the runtime says for a word whose stem is stored, or None."""
    for tail, stem_tail, add in ENDINGS:
        stem = word.removesuffix(tail) + stem_tail
        if word.endswith(tail) and len(word) > len(tail) and len(stem) >= 3 and stored.get(stem):
            return add(stored[stem])
    return None


def settle_stress(phones: Labels) -> Labels:
    """One primary stress, as `settle_stress` in csrc/speech/units.cc."""
    names = [PHONES[label - 1] for label in phones]
    vowels = [index for index, name in enumerate(names) if name[-1].isdigit()]
    primaries = [index for index in vowels if names[index][-1] == "1"]
    for index in primaries[1:]:
        names[index] = names[index][:-1] + "2"
    if vowels and not primaries:
        best = next((index for index in vowels if names[index][-1] == "2"), vowels[0])
        names[best] = names[best][:-1] + "1"
    return tuple(PHONE_IDS[name] for name in names)


class Int8Linear(nn.Module):
    """A linear layer computed as the runtime does with int8 weights: one scale per output and per row of input."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        q, scale = quantize_int8(linear.weight.detach().numpy())
        self.weight = torch.from_numpy(q.astype(np.float32) * scale[:, None])
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127
        return nn.functional.linear((x / scale).round() * scale, self.weight, self.bias)


def quantized(net: G2p) -> G2p:
    """A copy whose linear layers compute in int8."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
    return net


def exceptions(net: G2p, dictionary: Mapping[str, list[Labels]]) -> dict[str, Labels]:
    """The words that must be stored so that the runtime gets every word of the dictionary right."""
    words = sorted(dictionary, key=lambda word: (len(word), word))  # a stem is decided before what is formed from it
    guesses = dict(zip(words, map(settle_stress, pronounce(net, words)), strict=True))
    stored: dict[str, Labels] = {}
    for word in words:
        formed = from_stem(word, stored)
        said = guesses[word] if formed is None else formed
        if said not in dictionary[word]:
            stored[word] = dictionary[word][0]
    return stored


def read_dictionary(cmudict: Path) -> dict[str, list[Labels]]:
    """CMU's dictionary with the project's own words, whose pronunciations come first."""
    dictionary = read_cmudict(cmudict)
    for word, pronunciations in read_cmudict(EXTRA).items():
        dictionary[word] = pronunciations
    return dictionary


def make_lexicon(net: G2p, dictionary: Mapping[str, list[Labels]]) -> tuple[bytes, int]:
    """The blob `lexicon.en` for a network whose linear layers are stored in int8, and how many words it holds."""
    stored = exceptions(quantized(net), dictionary)
    short = [word for word in dictionary if len(word) <= SHORT and "'" not in word]
    return encode_lexicon(stored, short), len(stored)


def g2p_graph(net: G2p) -> Graph:
    """The tower `g2p`: `letters` int64 [1, T] -> `scores` float32 [1, T, 2 * 70]. Its matrices are meant for int8."""
    graph = Graph("g2p")
    width = net.embed.weight.shape[1]
    x = graph.add_input("letters", "int64", (1, "letters"))

    def constant(name: str, tensor: Tensor) -> str:
        return graph.add_constant(f"g2p.{name}", tensor.detach().numpy().astype(np.float32))

    def node(op: str, inputs: list[str | None], features: tuple[int, ...], name: str, **attributes: object) -> str:
        value = Value(f"g2p.{name}", "float32", (1, "letters", *features))
        return graph.add_node(op, inputs, [value], f"g2p.{name}", **attributes)[0]

    def linear(layer: nn.Linear, x: str, name: str, residual: str | None = None, activation: str = "none") -> str:
        inputs = [x, constant(f"{name}.weight", layer.weight), constant(f"{name}.bias", layer.bias)]
        inputs += [residual] if residual else []
        return node("linear", inputs, (layer.out_features,), name, activation=activation)

    def norm(layer: nn.LayerNorm, x: str, name: str) -> str:
        inputs = [x, constant(f"{name}.gamma", layer.weight), constant(f"{name}.beta", layer.bias)]
        return node("layer_norm", inputs, (width,), name, eps=layer.eps)

    x = node("embedding", [x, constant("embed.table", net.embed.weight)], (width,), "embed")
    for index, block in enumerate(net.blocks):
        name = f"{index}"
        kernel = constant(f"{name}.depthwise.weight", block.depthwise.weight[:, 0].T)
        bias = constant(f"{name}.depthwise.bias", block.depthwise.bias)
        pad = block.depthwise.padding[0]
        y = node("depthwise_conv1d", [x, kernel, bias], (width,), f"{name}.depthwise", pad_left=pad, pad_right=pad)
        y = linear(block.widen, norm(block.norm, y, f"{name}.norm"), f"{name}.widen", activation="gelu_tanh")
        x = linear(block.narrow, y, f"{name}.narrow", residual=x)
        if index == len(net.blocks) // 2 - 1:
            guess = linear(net.guess, x, "guess")
            guess = node("reshape", [guess], (SLOTS, LABELS), "slots", shape=[1, "letters", SLOTS, LABELS])
            guess = node("softmax", [guess], (SLOTS, LABELS), "odds", axis=3)
            guess = node("reshape", [guess], (SLOTS * LABELS,), "odds_row", shape=[1, "letters", SLOTS * LABELS])
            x = linear(net.reread, guess, "reread", residual=x)
    scores = linear(net.out, norm(net.norm, x, "norm"), "out")
    graph.rename(scores, "scores")
    graph.outputs = ["scores"]
    graph.check()
    return graph


def g2p_precisions(graph: Graph) -> dict[str, str]:
    """int8 for the matrices: what the lexicon was made for."""
    return {node.inputs[1]: "int8" for node in graph.nodes if node.op == "linear" and node.inputs[1]}


def g2p_tower(work: Path) -> tuple[Graph, dict[str, bytes]]:
    """The tower `g2p` and the blobs that go with it, from the folder of train_g2p's checkpoint (or `work/g2p`).

    Store the tower with `g2p_precisions`. Raises OSError where there is no checkpoint.
    """
    folder = work if (work / "g2p.pt").exists() else work / "g2p"
    net = load_net(folder / "g2p.pt")
    return g2p_graph(net), {"lexicon.en": make_lexicon(net, read_dictionary(CMUDICT))[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of train_g2p's checkpoint")
    parser.add_argument("--cmudict", type=Path, default=CMUDICT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = load_net(options.work / "g2p.pt")
    dictionary = read_dictionary(options.cmudict)
    blob, stored = make_lexicon(net, dictionary)
    (options.work / "lexicon.en").write_bytes(blob)
    everything = encode_lexicon({word: phones[0] for word, phones in dictionary.items()}, [])
    print(f"{len(dictionary)} words, {stored} stored, {1 - stored / len(dictionary):.1%} need no entry")
    print(f"{len(blob)} bytes; with every word: {len(everything)} bytes")


if __name__ == "__main__":
    main()
