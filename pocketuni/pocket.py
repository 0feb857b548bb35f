"""Speech of Pocket TTS models, behind the same calls as that of the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core
from .pocket_voice import make_voice, stored_names

if TYPE_CHECKING:
    from .model import Model

LATENT_FRAMES = 8  # a latent lasts about as long as so many frames of the default model, which `chunk_frames` counts


def stream(
    model: Model, voice: Any, options: dict[str, Any], volume: float = 1.0, chunk_frames: int = 0
) -> _core.PocketStream:
    """A stream of speech. options: other than what the model recommends, of temperature, noise_clamp, eos_threshold,
    steps, seed; chunk_frames: latents in each chunk, 0 for more and more."""
    core = model._open_core()
    settings = _core.pocket_settings(core)
    recommended = {key: settings[key] for key in ("temperature", "eos_threshold", "steps")}
    given = {**recommended, "noise_clamp": 0.0, "seed": 0, **options}
    state = b"" if voice is None else make_voice(model, voice).state
    threads, isa = model.options
    return _core.PocketStream(core, state, isa, volume, chunk_frames, threads=threads, **given)


def start(
    model: Model,
    voice: Any = None,
    speed: float = 1.0,
    pitch: float = 0.0,
    volume: float = 1.0,
    seed: int | None = None,
    chunk_frames: int | None = None,
) -> _core.PocketStream:
    """A speech of a Pocket TTS model. Raises ValueError for a speed or a pitch, which these models do not know."""
    from .speech import number, whole

    for name, value, neutral in (("speed", speed, 1.0), ("pitch", pitch, 0.0)):
        if number(name, value) != neutral:
            raise ValueError(
                f"{name} is {value!r}, but Pocket TTS models speak as their voice does; leave it {neutral}"
            )
    if voice is None:
        voice = default_voice(model)
    options = {"seed": 0 if seed is None else whole("seed", seed, 0, 2**32 - 1)}
    most = 0
    if chunk_frames is not None:
        most = max(1, whole("chunk_frames", chunk_frames, 1, _core.MAX_CHUNK_FRAMES) // LATENT_FRAMES)
    return stream(model, voice, options, number("volume", volume), most)


def default_voice(model: Model) -> str | None:
    """The voice that META names, else the first of the file; None when it has none."""
    names = stored_names(model)
    named = model.meta.get("default_voice")
    return named if named in names else next(iter(names), None)
