"""Trains the letter-to-sound network on a pronouncing dictionary; continues where an earlier run of it stopped.

    python -m distill.train_g2p --work /path/for/checkpoints

Prints the share of held-out words (one in twenty, never trained on) whose whole pronunciation, stresses included, is
one of the dictionary's.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from .g2p_net import BLANK, SLOTS, G2p, is_held_out, pad_words, pronounce, read_cmudict

CMUDICT = Path(__file__).parents[3] / "shared/data/text/cmudict.dict"
Entry = tuple[str, tuple[int, ...]]


def plan_batches(entries: list[Entry], size: int, seed: int) -> list[list[Entry]]:
    """Batches of words of about one length, in random order: little padding, and the same batches for one seed."""
    shuffler = random.Random(seed)
    entries = sorted(entries, key=lambda entry: len(entry[0]) + shuffler.random())
    batches = [entries[start : start + size] for start in range(0, len(entries), size)]
    shuffler.shuffle(batches)
    return batches


def batch_loss(net: G2p, batch: list[Entry]) -> Tensor:
    letters, lengths = pad_words([word for word, _ in batch])
    target = torch.tensor([label for _, phones in batch for label in phones])
    target_lengths = torch.tensor([len(phones) for _, phones in batch])
    guess, scores = net(letters, lengths)

    def ctc(logits: Tensor) -> Tensor:
        log_probabilities = logits.log_softmax(2).transpose(0, 1)
        loss = functional.ctc_loss(
            log_probabilities, target, lengths * SLOTS, target_lengths, BLANK, reduction="sum", zero_infinity=True
        )
        return loss / len(target)

    return ctc(scores) + 0.3 * ctc(guess)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A short linear rise, then a cosine to zero."""
    warm = min(300, steps // 10)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def accuracy(net: G2p, words: list[str], dictionary: dict[str, list[tuple[int, ...]]]) -> tuple[float, float]:
    """Share of words with a right pronunciation, and phone errors (edits) per phone against the first one."""
    net.eval()
    results = pronounce(net, words)
    net.train()
    right = sum(result in dictionary[word] for word, result in zip(words, results, strict=True))
    edits = sum(edit_distance(result, dictionary[word][0]) for word, result in zip(words, results, strict=True))
    return right / len(words), edits / sum(len(dictionary[word][0]) for word in words)


def edit_distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def save(path: Path, state: dict) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def train(options: argparse.Namespace) -> None:
    dictionary = read_cmudict(options.cmudict)
    fits = {w: p for w, p in dictionary.items() if len(p[0]) <= SLOTS * (len(w) + 1)}  # not "mrs": it needs room
    entries = [(word, phones[0]) for word, phones in fits.items() if not is_held_out(word)]
    held_out = [word for word in dictionary if is_held_out(word)]
    torch.manual_seed(options.seed)
    config = {"width": options.width, "hidden": options.hidden, "blocks": options.blocks, "kernel": 7}
    net = G2p(**config)
    print(f"{len(entries)} words, {len(held_out)} held out, {sum(p.numel() for p in net.parameters())} parameters")
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=0.01, betas=(0.9, 0.98))
    checkpoint, step = options.work / "g2p.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["config"] != config:
            raise SystemExit(f"{checkpoint} holds a network of {state['config']}, not {config}: use another --work")
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    per_epoch = len(plan_batches(entries, options.batch, 0))
    steps, started, total = per_epoch * options.epochs, time.monotonic(), 0.0
    while step < steps:
        epoch, offset = divmod(step, per_epoch)
        for batch in plan_batches(entries, options.batch, options.seed + epoch)[offset:]:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, options.rate)
            optimizer.zero_grad(set_to_none=True)
            loss = batch_loss(net, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            step, total = step + 1, total + loss.item()
            if step % 100 == 0 or step == steps:
                print(f"step {step}/{steps} loss {total / 100:.4f} {time.monotonic() - started:.0f} s", flush=True)
                total = 0.0
                save(
                    checkpoint,
                    {"config": config, "net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step},
                )
        sample = held_out if step == steps else held_out[::4]
        words, phones = accuracy(net, sample, dictionary)
        print(f"epoch {epoch + 1}: held-out words right {words:.4f}, phone errors {phones:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmudict", type=Path, default=CMUDICT)
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    train(options)


if __name__ == "__main__":
    main()
