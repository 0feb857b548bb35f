"""`pocketuni clone --mic` through PortAudio against a virtual device: the monitor of a PulseAudio sink into which a
recording is played. Debian's packages pulseaudio, pulseaudio-utils, libasound2-plugins and libportaudio2 bring it."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
pytest.importorskip("torch", reason="the lexicon of the test voice needs pocketuni's training tools")
from speech import tiny_voice  # noqa: E402
from voice_cases import voiced, write_wave  # noqa: E402

ASOUND = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
INPUTS = "import sounddevice; print(sounddevice.query_devices(None, 'input')['name'])"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The environment of a sound server of its own. A process `server` in it may be killed."""
    for program in ("pulseaudio", "paplay", "pactl"):
        if shutil.which(program) is None:
            pytest.skip(
                f"needs {program}: apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"
            )
    home = tempfile.mkdtemp(prefix="pu-")  # a socket's path must be short
    environment = {**os.environ, "HOME": home, "XDG_RUNTIME_DIR": home}
    with open(f"{home}/.asoundrc", "w") as file:
        file.write(ASOUND)
    modules = ["module-native-protocol-unix", "module-null-sink sink_name=loop", "module-null-sink sink_name=out"]
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *(f"-L{module}" for module in modules)]
    log = open(f"{home}/log", "w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(100):
            if not subprocess.run(
                ["pactl", "set-default-source", "loop.monitor"], env=environment, stderr=log
            ).returncode:
                break
            time.sleep(0.1)
        subprocess.run(["pactl", "set-default-sink", "out"], env=environment, stderr=log)
        found = subprocess.run([sys.executable, "-c", INPUTS], env=environment, capture_output=True, timeout=60)
        if found.returncode:
            pytest.skip(f"the virtual device does not open here: {found.stderr.decode().splitlines()[-1]}")
        yield environment, server
    finally:
        server.kill()
        server.wait()
        log.close()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_voice.write(tmp_path_factory.mktemp("voice") / "tiny.puni")


@contextlib.contextmanager
def cloning(environment, tiny, path, seconds):
    command = [sys.executable, "-m", "pocketuni", "clone", "--mic", "-m", tiny, "-o", path, "--seconds", seconds]
    command += ["--say", path.with_suffix(".wav")]
    elsewhere = tempfile.gettempdir()
    with subprocess.Popen(
        list(map(str, command)), env=environment, cwd=elsewhere, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_a_virtual_microphone(sound, tiny, tmp_path):
    environment, _ = sound
    played = write_wave(tmp_path / "me.wav", voiced(10))
    with cloning(environment, tiny, tmp_path / "a.voice", 6) as process:
        while "Speak until" not in process.stderr.readline():
            assert process.poll() is None
        subprocess.run(["paplay", "--device=loop", played], env=environment, check=True, timeout=60)
        errors = process.stderr.read()
        assert process.wait(60) == 0, errors
    assert "That is enough" in errors
    model = pocketuni.Model(tiny)
    voice = model.voice(tmp_path / "a.voice")
    assert 6 <= voice.seconds < 7 and abs(voice.pitch_hz / 140 - 1) < 0.02
    assert voice.similarity(model.voice(played)) > 0.97
    assert (tmp_path / "a.wav").stat().st_size > 20_000


def test_a_device_that_goes_away_mid_recording(sound, tiny, tmp_path):
    """The last test: it kills the sound server."""
    environment, server = sound
    played = write_wave(tmp_path / "me.wav", voiced(30))
    with cloning(environment, tiny, tmp_path / "a.voice", 60) as process:
        while "Speak until" not in process.stderr.readline():
            assert process.poll() is None
        player = subprocess.Popen(["paplay", "--device=loop", played], env=environment, stderr=subprocess.DEVNULL)
        while "That is enough" not in process.stderr.readline():
            assert process.poll() is None
        server.kill()
        player.wait(60)
        errors = process.stderr.read()
        assert process.wait(60) == 0, errors
    assert "what was heard before is kept" in errors
    assert 2 < pocketuni.Model(tiny).voice(tmp_path / "a.voice").seconds < 29
