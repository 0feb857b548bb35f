"""`pocketuni say`, `stream` and `voices`, each in a process of its own."""

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import wave

import numpy as np
import pytest
from golden import make

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
pytest.importorskip("torch", reason="the lexicon of the test voice needs pocketuni's training tools")
from speech import tiny_voice  # noqa: E402

COMMAND = [sys.executable, "-m", "pocketuni"]
ELSEWHERE = tempfile.gettempdir()  # in the checkout, Python would find the package's sources before the installed one
TEXT = "Dr. Smith paid $3. Well, she said: nobody left!"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_voice.write(tmp_path_factory.mktemp("voice") / "tiny.puni")


@pytest.fixture(scope="module")
def spoken(tiny):
    return pocketuni.Model(tiny).say(TEXT)


def run(*arguments, stdin=b"", code=0):
    """Runs a command; gives its output as bytes and its stderr. A fault is one line, without a traceback."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], input=stdin, capture_output=True, timeout=120, cwd=ELSEWHERE
    )
    errors = done.stderr.decode()
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}, expected {code}\n{errors}"
    assert "Traceback" not in errors
    if code == 1:
        assert errors.startswith("pocketuni: ") and errors.count("\n") == 1, errors
    return done.stdout, errors


def int16(audio):
    return np.round(audio.samples * 32767).astype("<i2").tobytes()


def wav_bytes(path):
    with wave.open(str(path)) as file:
        return file.readframes(file.getnframes())


def test_say_into_a_file(tiny, spoken, tmp_path):
    assert run("say", TEXT, "-m", tiny, "-o", tmp_path / "a.wav") == (b"", "")
    assert wav_bytes(tmp_path / "a.wav") == int16(spoken)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_raw_samples_go_to_stdout(tiny, spoken):
    assert run("say", TEXT, "-m", tiny, "-o", "-") == (int16(spoken), "")
    assert run("stream", TEXT, "-m", tiny) == (int16(spoken), "")
    assert run("stream", *TEXT.split(), "-m", tiny)[0] == int16(spoken), "words need no quotes"


def test_text_from_files_and_stdin(tiny, spoken, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    assert run("stream", "-f", path, "-m", tiny)[0] == int16(spoken)
    assert run("stream", "-f", "-", "-m", tiny, stdin=TEXT.encode())[0] == int16(spoken)
    assert run("stream", "-m", tiny, stdin=TEXT.encode())[0] == int16(spoken)
    assert len(run("stream", "-m", tiny, stdin=b"caf\xe9 \xff\xfe latin.")[0]) > 0, "faulty bytes are passed over"


def test_options_arrive(tiny):
    options = {"voice": "bert", "speed": 1.5, "pitch": -2.0, "volume": 0.5, "seed": 3}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    got, _ = run("stream", TEXT, "-m", tiny, "--threads", 1, *arguments)
    assert got == int16(pocketuni.Model(tiny).say(TEXT, **options))


def test_timestamps_as_json(tiny, spoken, tmp_path):
    run("say", TEXT, "-m", tiny, "-o", tmp_path / "a.wav", "--timestamps", tmp_path / "a.json")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["rate_hz"] == 22050 and len(told["words"]) == len(spoken.words)
    for entry, word in zip(told["words"], spoken.words, strict=True):
        assert (entry["text"], tuple(entry["span"])) == (word.text, word.span)
        assert abs(entry["start"] - word.start) < 1e-4 and abs(entry["end"] - word.end) < 1e-4


def test_timestamps_as_subtitles(tiny, tmp_path):
    text = "It costs $3, Dr. Smith. " + "The birch canoe slid on the smooth planks. " * 3
    run("stream", text, "-m", tiny, "--timestamps", tmp_path / "a.srt")
    blocks = (tmp_path / "a.srt").read_text().strip().split("\n\n")
    assert len(blocks) >= 4
    shown, last = [], "00:00:00,000"
    for index, block in enumerate(blocks, 1):
        number, times, line = block.split("\n")
        start, end = times.split(" --> ")
        assert int(number) == index and last <= start < end and len(line) < 60
        shown.append(line)
        last = end
    assert " ".join(shown) == text.strip(), "with its punctuation"
    run("stream", text, "-m", tiny, "--timestamps", tmp_path / "a.vtt")
    vtt = (tmp_path / "a.vtt").read_text()
    assert vtt.startswith("WEBVTT\n\n00:00:0") and " --> 00:00:0" in vtt and "," not in vtt.split("\n")[2]


def test_voices(tiny):
    out, _ = run("voices", "-m", tiny)
    assert out.decode().split() == ["ada", "sex", "female", "bert"]
    assert json.loads(run("voices", "-m", tiny, "--json")[0]) == {"ada": {"sex": "female"}, "bert": {}}
    assert "holds no voices" in run("voices", "-m", make.FOLDER / "text.puni", code=1)[1]


def test_faults(tiny, tmp_path):
    wav = ["-o", tmp_path / "a.wav"]
    for arguments, text in (
        (["", *wav], "there is nothing to say: the text holds no words"),
        (["...?!", *wav], "there is nothing to say"),
        (["Hello.", "--speed", "0", *wav], "speed is 0, expected 0.25 to 4"),
        (["Hello.", "--speed", "nan", *wav], "speed is nan"),
        (["Hello.", "--pitch", "13", *wav], "pitch is 13, expected -12 to 12"),
        (["Hello.", "--seed", "-1", *wav], "seed is -1"),
        (["Hello.", "--voice", "nobody", *wav], "there is no voice 'nobody'; voices of this model: ada, bert"),
        (["Hello [[QQ]].", *wav], "QQ"),
        (["Hello.", "-o", tmp_path / "no/a.wav"], "no/a.wav: No such file or directory"),
        (["Hello.", "-o", tmp_path / "a.mp3"], "one of .wav, .flac, .ogg"),
        (["Hello.", *wav, "--timestamps", tmp_path / "no/a.srt"], "no/a.srt: No such file or directory"),
        (["-f", "nowhere.txt", *wav], "nowhere.txt: No such file or directory"),
    ):
        assert text in run("say", *arguments, "-m", tiny, code=1)[1]
    for arguments, text in (
        (["Hello."], "where should the speech go? -o FILE"),
        (["Hello.", "-f", "x", *wav], "give TEXT or -f FILE, not both"),
        (["Hello.", *wav, "--timestamps", "a.txt"], "one of .json, .srt, .vtt"),
        (["Hello.", "--speed", "fast", *wav], "invalid float value: 'fast'"),
    ):
        assert text in run("say", *arguments, "-m", tiny, code=2)[1]
    assert "cannot speak: it lacks the towers" in run("say", "a", "-m", make.FOLDER / "text.puni", *wav, code=1)[1]
    assert list(tmp_path.iterdir()) == [], "no half file stays"


def test_play_without_its_package(tiny):
    arguments = ["say", "Hello.", "-m", str(tiny), "--play"]
    hide = f"import sys; sys.modules['sounddevice'] = None; from pocketuni.cli import main; sys.exit(main({arguments}))"
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, timeout=60, cwd=ELSEWHERE)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "pip install 'pocketuni[play]'" in done.stderr


def test_help_shows_examples():
    out, _ = run("say", "--help")
    assert b"pocketuni say -f book.txt -o book.ogg" in out and b"--timestamps" in out


def test_speech_starts_before_the_text_ends(tiny):
    """A sentence that comes through a pipe is spoken while the pipe stays open."""
    with subprocess.Popen(
        [*COMMAND, "stream", "-m", str(tiny)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ELSEWHERE
    ) as process:
        process.stdin.write(b"The first sentence. And the ")
        process.stdin.flush()
        first = os.read(process.stdout.fileno(), 1 << 20)
        assert len(first) >= 8 * 256 * 2
        process.stdin.write(b"second.")
        process.stdin.close()
        rest = process.stdout.read()
        assert process.wait(60) == 0
    whole = pocketuni.Model(tiny).say("The first sentence. And the second.")
    assert first + rest == int16(whole)


def test_a_closed_pipe_is_quiet(tiny, tmp_path):
    (tmp_path / "long.txt").write_text(TEXT * 500)
    with subprocess.Popen(
        [*COMMAND, "stream", "-f", tmp_path / "long.txt", "-m", str(tiny)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ELSEWHERE,
    ) as process:
        process.stdout.read(1000)
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(60) == 1
    assert errors == b""


def test_ctrl_c_is_quiet_and_leaves_no_half_file(tiny, tmp_path):
    (tmp_path / "long.txt").write_text(TEXT * 3000)
    with subprocess.Popen(
        [*COMMAND, "say", "-f", tmp_path / "long.txt", "-m", str(tiny), "-o", str(tmp_path / "a.wav")],
        stderr=subprocess.PIPE,
        cwd=ELSEWHERE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:
        deadline = time.monotonic() + 60
        while not any(path.name.startswith(".a.wav.") for path in tmp_path.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(60) == 130
    assert b"Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["long.txt"]


FAKE_SOUND = """
import sys, types
import numpy as np

class OutputStream:
    def __init__(self, rate, channels, dtype):
        assert (rate, channels, dtype) == (22050, 1, "float32")
        self.played, self.calls = [], []
    def start(self): self.calls.append("start")
    def write(self, samples): self.played.append(samples)
    def stop(self): self.calls.append("stop")
    def close(self):
        assert self.calls == ["start", "stop"]
        np.save(sys.argv[1], np.concatenate(self.played))

sys.modules["sounddevice"] = types.SimpleNamespace(OutputStream=OutputStream, PortAudioError=OSError)
from pocketuni.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_play_gives_the_samples_to_the_sound_output(tiny, spoken, tmp_path):
    command = [sys.executable, "-c", FAKE_SOUND, str(tmp_path / "played.npy")]
    command += ["say", TEXT, "-m", str(tiny), "--play", "-o", str(tmp_path / "a.wav")]
    done = subprocess.run(command, capture_output=True, timeout=60, cwd=ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "played.npy").tobytes() == spoken.samples.tobytes()
    assert wav_bytes(tmp_path / "a.wav") == int16(spoken), "into a file at the same time"


def on_terminal(*arguments):
    """Runs a command whose stdout and stderr are a terminal; gives its exit code and what it shows."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=theirs, stderr=theirs, cwd=ELSEWHERE) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
        os.close(ours)
        return process.wait(60), shown.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="pseudo-terminals of other systems end otherwise")
def test_terminals(tiny, tmp_path):
    code, shown = on_terminal("stream", "Hello.", "-m", tiny)
    assert code == 2 and "standard output is a terminal: pipe it into a player" in shown
    code, shown = on_terminal("say", "Hello.", "-m", tiny, "-o", tmp_path / "short.wav")
    assert (code, shown) == (0, "")
    pytest.importorskip("tqdm", reason="progress bars need tqdm")
    code, shown = on_terminal("say", TEXT * 20, "-m", tiny, "-o", tmp_path / "long.wav")
    assert code == 0 and "char" in shown and f"/{len(TEXT) * 20}" in shown
