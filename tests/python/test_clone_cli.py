"""`pocketuni clone` and `live`, each in a process of its own; microphones are played by a module in their place."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import wave

import numpy as np
import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
pytest.importorskip("torch", reason="the lexicon of the test voice needs pocketuni's training tools")
from speech import tiny_voice  # noqa: E402
from voice_cases import RATE, voiced, write_wave  # noqa: E402

COMMAND = [sys.executable, "-m", "pocketuni"]
ELSEWHERE = tempfile.gettempdir()  # in the checkout, Python would find the package's sources before the installed one


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_voice.write(tmp_path_factory.mktemp("voice") / "tiny.puni")


@pytest.fixture(scope="module")
def raw():
    return np.round(voiced(12) * 32767).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def want(tiny, raw):
    return pocketuni.Model(tiny).voice((np.frombuffer(raw, "<i2"), RATE))


@pytest.fixture
def recording(tmp_path):
    return write_wave(tmp_path / "me.wav", voiced(12))


def run(*arguments, stdin=b"", code=0, command=COMMAND):
    """Runs a command; gives its output as bytes and its stderr. There is no traceback."""
    done = subprocess.run(
        [*command, *map(str, arguments)], input=stdin, capture_output=True, timeout=120, cwd=ELSEWHERE
    )
    errors = done.stderr.decode()
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}, expected {code}\n{errors}"
    assert "Traceback" not in errors, errors
    return done.stdout, errors


def seconds_of(path):
    with wave.open(str(path)) as file:
        return file.getnframes() / file.getframerate()


def test_clone_a_file(tiny, want, recording, tmp_path):
    out, errors = run(
        "clone", recording, "-m", tiny, "-o", tmp_path / "a.voice", "--say", tmp_path / "a.wav", "--no-play"
    )
    assert out == b"" and "That is enough" in errors and "a.voice: " in errors and "confidence 0.9" in errors
    voice = pocketuni.Model(tiny).voice(tmp_path / "a.voice")
    assert voice.similarity(want) > 0.9999 and voice.name == "a"
    assert seconds_of(tmp_path / "a.wav") > 1
    run("clone", "--file", recording, "-m", tiny, "-o", tmp_path / "b.voice", "--no-play", "--name", "Zoë")
    assert pocketuni.Model(tiny).voice(tmp_path / "b.voice") == voice.renamed("Zoë")
    run("say", "Hello.", "-m", tiny, "--voice", tmp_path / "b.voice", "-o", tmp_path / "c.wav")
    assert seconds_of(tmp_path / "c.wav") > 0.2


def test_clone_raw_samples_from_a_pipe(tiny, want, raw, tmp_path):
    path = tmp_path / "a.voice"
    _, errors = run("clone", "--file", "-", "-m", tiny, "-o", path, "--no-play", stdin=raw)
    assert "a.voice: " in errors
    assert pocketuni.Model(tiny).voice(path) == want.renamed("a"), "the voice of the whole, bit for bit"
    floats = (np.frombuffer(raw, "<i2") / np.float32(32768)).astype("<f4")
    stereo = np.repeat(floats, 2).tobytes()
    run("clone", "--file", "-", "--format", "f32le", "--channels", 2, "-m", tiny, "-o", path, "--no-play", stdin=stereo)
    assert pocketuni.Model(tiny).voice(path) == want.renamed("a")
    run("clone", "--file", "-", "--rate", 8000, "--seconds", 6, "-m", tiny, "-o", path, "--no-play", stdin=raw)
    assert 6 <= pocketuni.Model(tiny).voice(path).seconds < 10, "it stops early"


def test_advice_goes_to_stderr(tiny, raw, tmp_path):
    _, errors = run("clone", "--file", "-", "-m", tiny, "-o", tmp_path / "a.voice", "--no-play", stdin=raw[: 4 * RATE])
    assert "pocketuni: Only " in errors and "That is enough" not in errors


def test_what_cannot_be_cloned(tiny, raw, recording, tmp_path):
    path = tmp_path / "a.voice"
    for arguments, stdin, text in (
        (["--file", "-"], b"", "too little speech for a voice. Nothing was recorded"),
        (["--file", "-"], bytes(4 * RATE), "The recording is silent"),
        (["--file", "-"], recording.read_bytes(), "holds an audio file, expected raw samples"),
        (["--file", "-", "--rate", 4000], raw, "rate_hz is 4000"),
        (["--file", "-", "--format", "f32le"], np.full(RATE, np.nan, "<f4").tobytes(), "not a finite number"),
        ([tmp_path / "none.wav"], b"", "No such file"),
    ):
        _, errors = run("clone", *arguments, "-m", tiny, "-o", path, "--no-play", stdin=stdin, code=1)
        assert errors.splitlines()[-1].startswith("pocketuni: ") and text in errors, errors
    for arguments, text in (
        ([recording, "-o", tmp_path / "a.wav"], "ends in .voice"),
        (["-o", path], "give one of FILE"),
        ([recording, "--mic", "-o", path], "give one of FILE"),
        ([recording, "--rate", "0", "-o", path], "0 is not positive"),
        ([recording, "--seconds", "nan", "-o", path], "nan is not positive"),
    ):
        _, errors = run("clone", *arguments, "-m", tiny, code=2)
        assert text in errors, errors
    assert sorted(each.name for each in tmp_path.iterdir()) == ["me.wav"]


def test_ctrl_c_keeps_what_was_heard(tiny, raw, tmp_path):
    path = tmp_path / "a.voice"
    command = [*COMMAND, "clone", "--file", "-", "-m", str(tiny), "-o", str(path), "--no-play"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ELSEWHERE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:
        process.stdin.write(raw)
        process.stdin.flush()
        assert b"That is enough" in process.stderr.readline(), "it has heard most of it, and waits for more"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(60) == 0, errors
    assert pocketuni.Model(tiny).voice(path).seconds > 8


# --- live ------------------------------------------------------------------------------------------------------------


def test_live_speaks_lines_from_a_recording(tiny, recording, tmp_path):
    lines = b"Hello there.\n\nAnother line. [[QQ]]\nThe end.\n"
    outputs = ["--say", tmp_path / "a.wav", "-o", tmp_path / "a.voice", "--no-play"]
    _, errors = run("live", recording, "-m", tiny, *outputs, stdin=lines)
    assert errors.count("first sound after") == 2 and "QQ" in errors and "a.voice: " in errors
    assert seconds_of(tmp_path / "a.wav") > 0.5
    whole = pocketuni.Model(tiny).voice(recording)
    assert pocketuni.Model(tiny).voice(tmp_path / "a.voice") == whole.renamed("a"), "a file is heard to its end"


def test_live_improves_while_a_pipe_brings_more(tiny, raw, tmp_path):
    fifo = tmp_path / "sound"
    os.mkfifo(fifo)
    command = [*COMMAND, "live", "--file", fifo, "-m", tiny, "--say", tmp_path / "a.wav", "--no-play"]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(list(map(str, command)), cwd=ELSEWHERE, text=True, **pipes) as process:
        with open(fifo, "wb", buffering=0) as sound:
            seconds = []
            for part in (raw[: 6 * RATE], raw[6 * RATE :]):  # 3 s, then 9 s
                sound.write(part)
                time.sleep(1.0)
                process.stdin.write("How do I sound now?\n")
                process.stdin.flush()
                line = process.stderr.readline()
                while "first sound after" not in line:
                    assert line, "it ended early"
                    line = process.stderr.readline()
                seconds.append(float(line.removeprefix("(").split(" s of speech")[0]))
            process.stdin.close()
            assert process.wait(60) == 0, "it ends with its lines although the pipe is open"
        assert "Traceback" not in process.stderr.read()
    assert 1 < seconds[0] <= 3 < seconds[1] <= 12


def test_live_with_samples_and_lines_that_need_a_file(tiny, raw, tmp_path):
    (tmp_path / "lines.txt").write_text("Hello.\nGood bye.\n")
    arguments = ["live", "--file", "-", "-m", tiny, "--lines", tmp_path / "lines.txt", "--say", tmp_path / "a.wav"]
    _, errors = run(*arguments, "--no-play", stdin=raw)
    assert errors.count("first sound after") == 2
    _, errors = run("live", tmp_path / "none.wav", "-m", tiny, "--no-play", code=1)
    assert "No such file" in errors
    _, errors = run("live", write_wave(tmp_path / "me.wav", voiced(2)), "-m", tiny, "--no-play", code=1)
    assert "no sound output, and no --say" in errors


# --- the microphone --------------------------------------------------------------------------------------------------

FAKE_MICROPHONE = """
import sys, threading, time, types
import numpy as np

class PortAudioError(Exception): pass

class InputStream:
    def __init__(self, rate, device, channels, dtype, callback, finished_callback):
        assert (channels, dtype) == (1, "float32")
        self.callback, self.finished, self.rate = callback, finished_callback, rate
    def start(self):
        threading.Thread(target=self.play, daemon=True).start()
    def play(self):
        sound = np.load(sys.argv[1])
        for at in range(0, len(sound), 480):
            self.callback(sound[at : at + 480, None], 480, None, None)
            time.sleep(0.0005)
        MODE == "unplugged" and self.finished()
    def close(self, ignore_errors): pass

def query_devices(device=None, kind=None):
    if kind is None: return [{"name": "Built-in", "max_input_channels": 2}] if MODE == "refused" else []
    if MODE in ("none", "refused"): raise PortAudioError("Error querying device -1")
    return {"name": "Built-in", "default_samplerate": 16000.0}

MODE = sys.argv[2]
if MODE == "absent": sys.modules["sounddevice"] = None
else: sys.modules["sounddevice"] = types.SimpleNamespace(
    InputStream=InputStream, query_devices=query_devices, PortAudioError=PortAudioError)
from pocketuni.cli import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.npy"
    np.save(path, voiced(14))
    return path


def with_microphone(spoken, mode, *arguments, code=0):
    return run(spoken, mode, *arguments, code=code, command=[sys.executable, "-c", FAKE_MICROPHONE])[1]


def test_a_microphone_until_it_is_enough(tiny, spoken, want, tmp_path):
    path = tmp_path / "a.voice"
    errors = with_microphone(spoken, "there", "clone", "--mic", "-m", tiny, "-o", path, "--no-play")
    assert "Speak until I say" in errors and "That is enough" in errors and "a.voice: " in errors
    voice = pocketuni.Model(tiny).voice(path)
    assert 10 <= voice.seconds < 10.5 and voice.similarity(want) > 0.99


def test_a_microphone_that_is_pulled_out(tiny, spoken, tmp_path):
    path = tmp_path / "a.voice"
    for mode in ("unplugged", "mute"):  # PortAudio says so, or nothing comes any more
        arguments = ["clone", "--mic", "--seconds", 60, "-m", tiny, "-o", path, "--no-play"]
        errors = with_microphone(spoken, mode, *arguments)
        assert "was it unplugged?" in errors and "what was heard before is kept" in errors
        assert pocketuni.Model(tiny).voice(path).seconds > 12
        path.unlink()


def test_machines_without_a_microphone(tiny, spoken, tmp_path):
    for mode, texts in (
        ("absent", ["--mic needs sounddevice: pip install 'pocketuni[mic]'", "arecord"]),
        ("none", ["cannot be opened", "no input was found; plug a microphone in", "arecord"]),
        ("refused", ["cannot be opened", "allow this program to use it", "inputs: Built-in"]),
    ):
        for command in (["clone", "-o", tmp_path / "a.voice"], ["live"]):
            errors = with_microphone(spoken, mode, *command, "--mic", "-m", tiny, code=1)
            assert errors.startswith("pocketuni: ") and errors.count("\n") == 1
            assert all(text in errors for text in texts), errors
    assert list(tmp_path.iterdir()) == []
