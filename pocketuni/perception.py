"""Pictures and recordings for towers that say in META how they want them: `Model.see`, `Model.hear`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .features import chunks, mono, sound_input
from .pictures import picture_input

if TYPE_CHECKING:
    from .model import Model, Tower


@dataclass(frozen=True)
class Label:
    """What a tower sees or hears, and how sure it is (0 to 1)."""

    name: str
    probability: float


def perceiving_tower(model: Model, kind: str, name: str | None) -> tuple[Tower, Mapping[str, Any]]:
    """The tower of that name, or the only one whose META says how it takes an `image` or `audio`."""
    said = model.meta.get("towers")
    said = said if isinstance(said, dict) else {}
    fitting = [tower for tower in model.towers if isinstance(said.get(tower), dict) and kind in said[tower]]
    if name is not None and name not in fitting:
        raise ValueError(f"{model.path}: tower {name!r} takes no {kind}; those that do: {', '.join(fitting) or 'none'}")
    if name is None and len(fitting) != 1:
        problem = f"several towers take {kind}: {', '.join(fitting)}; name one" if fitting else f"no tower takes {kind}"
        raise ValueError(f"{model.path}: {problem} (conversion: --preprocess {kind}:...)")
    chosen = name or fitting[0]
    settings = said[chosen][kind]
    if not isinstance(settings, dict) or settings.get("input") not in model.towers[chosen].inputs:
        raise ValueError(f"{model.path}: META's towers.{chosen}.{kind} names no input of the tower")
    return model.towers[chosen], {**settings, "labels": said[chosen].get("labels")}


def see(model: Model, source: Any, tower: str | None) -> list[Label] | np.ndarray:
    chosen, settings = perceiving_tower(model, "image", tower)
    outputs = chosen.run(**{settings["input"]: picture_input(source, settings)})
    return labelled(outputs, settings["labels"], model.path)


def labelled(outputs: Mapping[str, np.ndarray], labels: list[str] | None, path: str) -> list[Label] | np.ndarray:
    """Labels, the most probable one first; without labels the first output as it is."""
    values = next(iter(outputs.values()))
    if labels is None:
        return values
    scores = values.reshape(-1).astype(np.float64)
    if len(scores) != len(labels):
        raise ValueError(f"{path}: the tower gives {len(scores)} numbers, but there are {len(labels)} labels")
    if scores.min() < 0 or abs(scores.sum() - 1) > 1e-3:  # not probabilities yet
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
    return [Label(labels[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")]


def hear(model: Model, samples: npt.ArrayLike, rate_hz: int, tower: str | None) -> list[Label] | np.ndarray:
    chosen, settings = perceiving_tower(model, "audio", tower)
    name = settings["input"]
    shape = chosen.inputs[name].shape
    if not chosen.states:
        sound = sound_input(samples, rate_hz, settings, shape)
        return labelled(chosen.run(**{name: sound}), settings["labels"], model.path)
    stream, results = chosen.stream(), []
    for chunk in chunks(mono(samples, rate_hz, settings["rate_hz"]), settings, shape, model.path):
        results.append(next(iter(stream.run(**{name: chunk}).values())))
    return np.concatenate(results)
