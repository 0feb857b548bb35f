"""The README's examples, run as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def example_with(text):
    """The only Python example that holds a text."""
    (example,) = [block for block in blocks("python") if text in block]
    return example


def commands(name):
    """The lines of the shell examples that call `pocketuni NAME`."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"pocketuni {name} ")]


@pytest.fixture
def folder(minilm, tmp_path):
    """A folder that holds minilm.puni."""
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    (tmp_path / "minilm.puni").symlink_to(minilm)
    return tmp_path


def run(line, folder):
    command = [sys.executable, "-m", *shlex.split(line)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_examples(folder, monkeypatch):
    example = example_with("embed")
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    shape, rest = re.search(r"# \((\d+, \d+)\) float32, unit (length)", example).groups()
    assert rest and names["vectors"].shape == tuple(map(int, shape.split(", ")))
    assert names["vectors"].dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(names["vectors"], axis=1), 1, rtol=1e-5)
    assert names["result"].keys() == names["tower"].outputs.keys()


@pytest.fixture
def voice(tmp_path, monkeypatch):
    """A folder to work in, where the package holds a voice."""
    try:
        pocketuni.Model()
    except FileNotFoundError:
        pytest.skip("this installation holds no default model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_example_of_speech(voice, capsys):
    names = {}
    exec(compile(example_with("model.stream("), "README.md", "exec"), names)
    audio = names["audio"]
    assert (voice / "hello.wav").stat().st_size > 2 * len(audio) and audio.rate_hz == 22050
    assert capsys.readouterr().out.startswith("2048 [")


def test_shell_examples_of_speech(voice):
    (say,) = commands("say")
    run(say, voice)
    assert (voice / "hello.wav").stat().st_size > 20_000 and "world" in (voice / "hello.srt").read_text()
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert "pocketuni voices" in lines and "linda" in run("pocketuni voices", voice)
    (stream,) = commands("stream")
    command = [sys.executable, "-m", *shlex.split(stream.split(" | ")[0])]
    assert len(subprocess.run(command, capture_output=True, timeout=120, cwd=voice, check=True).stdout) > 20_000


@pytest.fixture
def recording(voice):
    """me.wav: there is no person in the test's folder, so the model's own voice must do."""
    model = pocketuni.Model()
    if "voice.speaker" not in model.towers:
        pytest.skip("the default model does not make voices")
    text = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
    model.say(4 * text).save(voice / "me.wav")
    return voice


@pytest.mark.filterwarnings("ignore::pocketuni.VoiceWarning")
def test_examples_of_cloning(recording, capsys):
    exec(compile(example_with("voice_builder"), "README.md", "exec"), {})
    assert (recording / "me.voice").stat().st_size < 2000 and (recording / "it-is-me.wav").stat().st_size > 10_000
    assert capsys.readouterr().out.endswith("silent: check that the microphone is on and not muted.']\n")
    (recording / "me.voice").unlink()
    run(commands("clone")[0], recording)
    assert (recording / "me.voice").stat().st_size < 2000 and (recording / "hello.wav").stat().st_size > 10_000


def test_shell_examples(folder):
    (embed,) = commands("embed")
    vectors = np.array([row.split() for row in run(embed, folder).splitlines()], np.float32)
    assert vectors.shape == (2, 384)
    (inspect,) = commands("inspect")
    assert "tower text" in run(inspect, folder)


def test_the_convert_example_is_understood(tmp_path):
    pytest.importorskip("pocketuni_tools.convert", reason="needs the extra tools: pip install '.[tools]'")
    (line,) = commands("convert")
    _, _, kind, _, *options = shlex.split(line)
    shown = run(f"pocketuni convert {kind} --help", tmp_path)
    assert [option for option in options if option.startswith("-") and option not in shown] == []


def test_files_that_it_links_are_there():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(targets) >= 4
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_isas_that_it_names_are_the_ones_there_are():
    (names,) = re.findall(r"`POCKETUNI_ISA` forces a set of kernels \(([^)]+)\)", README)
    named = set(re.findall(r"`(\w+)`", names))
    assert set(pocketuni._core.usable_isas()) <= named
    sources = "".join(path.read_text() for path in (ROOT / "csrc/kernels").glob("*.cc"))
    assert [name for name in sorted(named) if f'"{name}"' not in sources] == []
