"""Exports the trained students as one `.puni` file with the towers of docs/voice.md and named voices.

python -m distill.export --work /work-data --out voice.puni
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pocketuni_tools.fuse import fuse
from pocketuni_tools.packing import Packed
from pocketuni_tools.progress import Progress
from pocketuni_tools.quantize import round_tower, weights_of
from pocketuni_tools.reader import Contents, read_model
from pocketuni_tools.report import compare, describe
from pocketuni_tools.source import Feed, Outputs, Tower, separate_names
from pocketuni_tools.writer import write_model

from . import cloning_towers, export_vocoder, make_lexicon, train_pitch, vocoder, voice_space
from .acoustic import Acoustic, load_acoustic, places
from .acoustic_graph import VARIANCES, Builder, decoder_graph, encoder_graph
from .data import Prepared, Utterance

LICENCES = {"ljspeech": "public domain", "vctk-p239": "CC BY 4.0", "librispeech": "CC BY 4.0"}
SOURCES = {
    "ljspeech": "LJSpeech 1.1",
    "vctk-p239": "VCTK, speaker p239",
    "librispeech": "LibriSpeech train-clean-5, speaker {}",
}
ACCENTS = {"vctk-p239": "British"}
# Voices by name -> speaker in the training data.
DEFAULT_VOICE = "linda"
VOICES = {
    DEFAULT_VOICE: "lj",
    "grace": "19",
    "clara": "7859",
    "ruth": "1970",
    "henry": "1867",
    "james": "7367",
    "peter": "460",
}
PROVENANCE = {
    "method": "tools/distill: forced alignment, convolutional acoustic model, excitation vocoder",
    "data": "LJSpeech 1.1 (public domain); LibriSpeech train-clean-5 and one recording each of 251 speakers of "
    "train-clean-100, VCTK p239 (CC BY 4.0)",
    "teachers": "HiFi-GAN V2 for LJSpeech (MIT) for the vocoder, beside recordings; GE2E of Resemblyzer (Apache-2.0) "
    "for speaker vectors; silero VAD (MIT) for speech activity; pocketsphinx en-us (BSD) and WORLD for labels",
}


CALIBRATION = 6  # recordings of LJSpeech, and as many of the other corpora
# F0 that trembles is heard: rounded to int8, the reader costs DNSMOS 0.04, the vocoder nothing (docs/decisions.md).
VOCODER_PRECISION = {"voice.pitch": "f16", "voice.vocoder": "int8"}
WORST_ERROR = 0.12  # of an exported output, relative to its root mean square, with weights and activations in int8


def encode(model: Acoustic, feed: Feed) -> Outputs:
    """What the tower `voice.encoder` gives."""
    ids, flags, speaker = (torch.from_numpy(feed[name]) for name in ("units", "flags", "speaker"))
    with torch.no_grad():
        hidden, heads = model.encoder(ids, flags, speaker, torch.ones(1, ids.shape[1], 1))
        heads = model.encoder.full_heads(heads, speaker)
    return {"hidden": hidden.numpy()} | {name: heads[..., i].numpy() for i, name in enumerate(VARIANCES)}


def decode(model: Acoustic, feed: Feed) -> Outputs:
    """What the tower `voice.decoder` gives."""
    tensors = [torch.from_numpy(feed[name]) for name in ("hidden", "place", "prosody", "speaker")]
    with torch.no_grad():
        return {"mel": model.decoder(*tensors, torch.ones(1, tensors[0].shape[1], 1)).numpy()}


def encoder_feed(data: Prepared, u: Utterance) -> Feed:
    ids, flags = (x.astype(np.int64)[None] for x in (u.units, u.flags))
    return {"units": ids, "flags": flags, "speaker": data.vectors[u.speaker][None]}


def decoder_feed(model: Acoustic, data: Prepared, u: Utterance) -> Feed:
    """Inputs of the decoder for a recording's own durations and prosody."""
    owner, place = places(torch.from_numpy(u.frames.astype(np.int64)))
    return {
        "hidden": encode(model, encoder_feed(data, u))["hidden"][:, owner.numpy()],
        "place": place[None].numpy(),
        "prosody": u.prosody()[owner.numpy()][None],
        "speaker": data.vectors[u.speaker][None],
    }


def acoustic_towers(model: Acoustic, data: Prepared) -> list[tuple[Tower, dict[str, str]]]:
    """Both towers with calibration inputs, and the precision of each of their constants."""
    seen = [u for corpus in ("ljspeech", "librispeech") for u in data.select(corpus, True)[:CALIBRATION]]
    unseen = data.select("ljspeech", False)[:1]

    def tower(built: Builder, feed: Any, reference: Any) -> tuple[Tower, dict[str, str]]:
        feeds, checks = ([feed(u) for u in some] for some in (seen, unseen))
        return Tower(built.graph, feeds, checks, lambda inputs: reference(model, inputs)), built.precisions

    return [
        tower(encoder_graph(model), lambda u: encoder_feed(data, u), encode),
        tower(decoder_graph(model), lambda u: decoder_feed(model, data, u), decode),
    ]


def vocoder_towers(data: Path, spectrum: Path, pitch: Path) -> list[tuple[Tower, dict[str, str]]]:
    """The pitch reader and the vocoder, with the precision of their products; all else is as it is."""
    rows = export_vocoder.split.ljspeech_held_out(data / "speech")
    others = [row for row in export_vocoder.split.transcripts(data / "speech", "ljspeech") if row not in rows]
    feeds = export_vocoder.feeds_of(data, others[: export_vocoder.CALIBRATION_SENTENCES])
    checks = export_vocoder.feeds_of(data, rows[:1])
    found = export_vocoder.towers(train_pitch.load(pitch), vocoder.load(spectrum), feeds, checks)
    for tower in found:
        fuse(tower.graph)
    separate_names(found)
    return [(tower, dict.fromkeys(weights_of(tower.graph), VOCODER_PRECISION[tower.graph.name])) for tower in found]


def pronunciation(folder: Path) -> tuple[list[tuple[Tower, dict[str, str]]], dict[str, bytes]]:
    """The tower `g2p` and its lexicon, which make_lexicon has written for just this network."""
    network, lexicon = folder / "g2p.pt", folder / "lexicon.en"
    if not lexicon.exists() or lexicon.stat().st_mtime < network.stat().st_mtime:
        raise ValueError(f"{lexicon}: expected one that is newer than {network.name}; run distill.make_lexicon")
    graph = make_lexicon.g2p_graph(make_lexicon.load_net(network))
    return [(Tower(graph), make_lexicon.g2p_precisions(graph))], {"lexicon.en": lexicon.read_bytes()}


def choose_voices(data: Prepared) -> tuple[dict[str, bytes], dict[str, dict]]:
    """The blobs `voice/NAME` and what META says about each voice."""
    blobs, meta = {}, {}
    corpora = {u.info["speaker"]: u.info["corpus"] for u in data.utterances if u.info["corpus"] in SOURCES}
    for name, speaker in VOICES.items():
        index = next((i for i, s in enumerate(data.speakers) if s["name"] == speaker), None)
        if index is None:
            raise ValueError(
                f"voice {name!r}: speaker {speaker!r} is not in the prepared data; run prepare.py on all of it"
            )
        corpus = corpora[index]
        blobs[f"voice/{name}"] = data.vectors[index].astype("<f4").tobytes()
        meta[name] = {
            "sex": {"F": "female", "M": "male"}[data.speakers[index]["sex"]],
            "accent": ACCENTS.get(corpus, "American"),
            "source": SOURCES[corpus].format(speaker),
            "licence": LICENCES[corpus],
            "f0_hz": round(float(np.exp(data.speakers[index]["log_f0"])), 1),
        }
    return blobs, meta


def quantize(chosen: list[tuple[Tower, dict[str, str]]]) -> dict[str, Packed]:
    """Every weight that is rounded, calibrated where its tower has inputs for that."""
    packed: dict[str, Packed] = {}
    for tower, precisions in chosen:
        packed |= round_tower(tower.graph, tower.feeds, precisions, packed, Progress())
    return packed


def verify(report: Mapping[str, Mapping[str, Mapping[str, float]]], towers: list[Tower]) -> dict[str, float]:
    """Error of each output, as stored, relative to its root mean square. Raises ValueError beyond `WORST_ERROR`."""
    found = {}
    for tower in towers:
        for name, figures in report.get(tower.graph.name, {}).items():
            found[f"{tower.graph.name}:{name}"] = 10 ** (-figures["snr_db"] / 20)
    if bad := {name: round(error, 3) for name, error in found.items() if not error < WORST_ERROR}:
        raise ValueError(f"the exported towers differ from the students: {bad}; expected below {WORST_ERROR}")
    return found


def others_of(stored: Contents, towers: list[Tower]) -> Contents:
    """What a finished file holds apart from towers with the names of these."""
    names = {tower.graph.name for tower in towers}
    graphs = [graph for graph in stored.towers if graph.name not in names]
    used = {name for graph in graphs for name in graph.constants}
    packed = {name: item for name, item in stored.packed.items() if name in used}
    return replace(stored, towers=graphs, packed=packed)


def export(options: argparse.Namespace) -> dict[str, Any]:
    """Writes the model file; returns the errors of its outputs and its size."""
    data = None if options.keep_acoustic else Prepared(options.work)  # the vocoder knows nothing of it
    chosen = vocoder_towers(
        options.data,
        options.vocoder or options.work / "vocoder/student/vocoder.pt",
        options.pitch or options.work / "vocoder/pitch.pt",
    )
    if data is not None:
        checkpoint = options.acoustic or options.work / "acoustic/checkpoint.pt"
        chosen = acoustic_towers(load_acoustic(checkpoint), data) + chosen
    kept = others_of(read_model(options.keep), [tower for tower, _ in chosen]) if options.keep else None
    if kept is not None and data is not None and kept.blobs.get(voice_space.BLOB) != data.space.digest():
        raise ValueError(f"{options.keep}: its voice space is not that of {options.work}; run prepare with --start")
    blobs, voices = (kept.blobs, kept.meta.get("voices", {})) if data is None else choose_voices(data)
    if kept is not None:
        blobs = blobs | {name: blob for name, blob in kept.blobs.items() if not name.startswith("voice/")}
    elif options.cloning:
        chosen += cloning_towers.towers(options.work)
        blobs[voice_space.BLOB] = data.space.digest()
    towers = [tower for tower, _ in chosen]
    if options.pronunciation and kept is None:
        spelled, lexicon = pronunciation(options.work / "g2p")
        chosen, blobs = chosen + spelled, blobs | lexicon
    packed = quantize(chosen)
    graphs = [tower.graph for tower, _ in chosen]
    if kept is not None:
        graphs, packed = graphs + kept.towers, packed | kept.packed
    report = describe([Tower(graph) for graph in graphs], packed, "int8")
    report["outputs"] = compare(towers, packed)
    errors = verify(report["outputs"], towers)
    meta = {
        "name": "pocketuni voice",
        "licence": "Apache-2.0; recordings: see provenance and voices",
        "provenance": PROVENANCE,
        "default_voice": DEFAULT_VOICE,
        "voices": voices,
        "report": report,
    }
    rest = {name: p for _, precisions in chosen for name, p in precisions.items() if name not in packed}
    if kept is not None:
        known = kept.meta.get("report", {}).get("outputs", {})
        report["outputs"] |= {graph.name: known[graph.name] for graph in kept.towers if graph.name in known}
    write_model(options.out, graphs, precisions=rest, meta=meta, blobs=blobs, packed=packed)
    return {"bytes": options.out.stat().st_size, "errors": {name: round(error, 4) for name, error in errors.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--acoustic", type=Path, help="default: WORK/acoustic/checkpoint.pt")
    parser.add_argument("--vocoder", type=Path, help="default: WORK/vocoder/student/vocoder.pt")
    parser.add_argument("--pitch", type=Path, help="default: WORK/vocoder/pitch.pt")
    parser.add_argument(
        "--cloning", action=argparse.BooleanOptionalAction, default=True, help="towers that make voices of recordings"
    )
    parser.add_argument("--pronunciation", action=argparse.BooleanOptionalAction, default=True, help="g2p and lexicon")
    parser.add_argument(
        "--keep",
        type=Path,
        help="a finished .puni whose towers for recordings and for pronunciation stay as they are",
    )
    parser.add_argument(
        "--keep-acoustic", action="store_true", help="of the file to --keep, encoder and decoder stay, too"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.keep_acoustic and not options.keep:
        parser.error("--keep-acoustic says what of a file stays: give that file, with --keep")
    torch.set_num_threads(1)
    print(json.dumps(export(options), indent=1))


if __name__ == "__main__":
    main()
