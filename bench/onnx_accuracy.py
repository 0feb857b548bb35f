"""How much of what the models of bench/onnx_models.py decide is left after rounding: a line for each promise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import pocketuni

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tools"))
from ultraface_boxes import boxes, overlap, picture_of  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODELS = DATA / "models"
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
Models = dict[str, pocketuni.Model]  # by precision: fp32, int8, for some int4


def outputs(model: pocketuni.Model, **inputs: np.ndarray) -> np.ndarray:
    """The first output, for inputs cut into pieces of 100."""
    tower, (name, array) = model.towers["main"], next(iter(inputs.items()))
    parts = [next(iter(tower.run(**{name: array[i : i + 100]}).values())) for i in range(0, len(array), 100)]
    return np.concatenate(parts)


def cifar(count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of bytes [count, 32, 32, 3] and labels."""
    with np.load(DATA / "vision" / "cifar10_test_2000.npz") as file:
        return file["image"][:count], file["label"][:count]


def normalized(image: np.ndarray) -> np.ndarray:
    """[n, 3, 32, 32], as the ResNets were trained."""
    return np.ascontiguousarray(((image / 255 - MEAN) / DEVIATION).transpose(0, 3, 1, 2), np.float32)


def percent(hits: np.ndarray) -> str:
    return f"{100 * hits.mean():.2f} %"


def keywords(models: Models) -> str:
    with np.load(MODELS / "mlperf_tiny" / "kws01_first500.npz") as file:
        x = (file["mfcc_int8"].astype(np.float32) - file["zero_point"]) * file["scale"]
        label = file["label"]
    x = np.asarray(x, np.float32).reshape(-1, 49, 10, 1)
    return "right: " + ", ".join(
        f"{kind} {percent(outputs(model, input_1=x).argmax(1) == label)}" for kind, model in models.items()
    )


def residual(models: Models) -> str:
    image, label = cifar()
    return "right: " + ", ".join(
        f"{kind} {percent(outputs(model, x=normalized(image)).argmax(1) == label)}" for kind, model in models.items()
    )


def labels(models: Models, size: int, scale: float) -> str:
    x = cifar(500)[0]
    x = np.repeat(np.repeat(x, size // 32, 1), size // 32, 2) * np.float32(scale)
    exact, rounded = (outputs(models[kind], input_1=x.astype(np.float32)).argmax(1) for kind in ("fp32", "int8"))
    return f"same label: {percent(exact == rounded)}"


def faces(models: Models) -> str:
    least = []
    for name in ("9.jpg", "26.jpg"):
        x = picture_of(MODELS / "ultraface" / name)
        (exact, sure), (rounded, also) = (boxes(models[kind], x) for kind in ("fp32", "int8"))
        least.append(overlap(exact, rounded)[sure > 0.7].min())
        least.append(1 - np.abs(sure - also)[sure > 0.7].max())
    return f"least overlap {min(least[::2]):.3f}, least certainty left {min(least[1::2]):.3f}, of all boxes above 0.7"


def recordings(step: int, first: int = 0) -> list[Path]:
    return sorted((DATA / "speech" / "librispeech-unseen").rglob("*.opus"))[first::step]


def heard(path: Path) -> np.ndarray:
    import soundfile

    return soundfile.read(path, dtype="float32")[0]


def log_mel(samples: np.ndarray) -> np.ndarray:
    """[frames, 128]: decibels in mel bands of 1024 samples every 512 at 16 kHz, what the model for odd sounds takes."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::512] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 130) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    at = np.arange(513) * 16000 / 1024
    bands = np.maximum(0, np.minimum((at - low) / (middle - low), (high - at) / (high - middle)))
    return 10 * np.log10(power @ bands.T + 1e-10)


def oddities(models: Models) -> str:
    """Is the error of reconstruction of two seconds, the mean over their windows, above a threshold? Any of its
    quantiles may be the threshold."""
    errors: dict[str, list[float]] = {"fp32": [], "int8": []}
    for path in recordings(1):
        mel = log_mel(heard(path))
        windows = np.lib.stride_tricks.sliding_window_view(mel, 5, axis=0).transpose(0, 2, 1)  # [windows, 5, 128]
        x = windows.reshape(-1, 640).astype(np.float32)
        for begin in range(0, len(x) - 60, 60):
            for kind, seen in errors.items():
                part = x[begin : begin + 60]
                seen.append(float(((outputs(models[kind], input_1=part) - part) ** 2).mean()))
    exact, rounded = (np.array(errors[kind]) for kind in ("fp32", "int8"))
    same = [((exact > level) == (rounded > level)).mean() for level in np.quantile(exact, np.linspace(0.05, 0.95, 19))]
    return f"same decision: {100 * min(same):.2f} % of {len(exact)} at the worst of 19 thresholds"


def opinions(models: Models) -> str:
    worst = 0.0
    for path in recordings(10):
        x = np.resize(heard(path), (1, 144160))
        exact, rounded = (next(iter(models[kind].towers["main"].run(input_1=x).values())) for kind in ("fp32", "int8"))
        worst = max(worst, float(np.abs(exact - rounded).max()))
    return f"largest difference of a score: {worst:.3f}"


def activity(models: Models) -> str:
    """Frame by frame: the recording that comes with the model, then others."""
    worst = []
    for path in (MODELS / "silero_vad" / "test.opus", *recordings(10)):
        samples = heard(path)
        chunks = samples[: len(samples) // 512 * 512].reshape(-1, 1, 512)[:300]
        runs = []
        for kind in ("fp32", "int8"):
            stream = models[kind].towers["main"].stream()
            runs.append(np.array([stream.run(chunk)["output"].item() for chunk in chunks]))
        worst.append(float(np.abs(runs[0] - runs[1]).max()))
    own, others = worst[0], worst[1:]
    return f"largest difference of a frame: test.opus {own:.4f}, {len(others)} other recordings {max(others):.4f}"


CHECKS: dict[str, Callable[[Models], str]] = {
    "ic": lambda models: labels(models, 32, 1.0),
    "vww": lambda models: labels(models, 96, 1 / 255),
    "kws": keywords,
    "ad": oddities,
    "ultraface": faces,
    "dnsmos": opinions,
    "silero": activity,
    "resnet20": residual,
    "resnet56": residual,
}
