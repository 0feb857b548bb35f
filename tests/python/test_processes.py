"""Speech in processes that fork, end or get signals at any moment, and the same samples in each of them."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

MODEL = Path(__file__).parents[1] / "speech/speaking.puni"
TEXT = "Dr. Smith paid $3.50 for it. Is this a dog? "
ENDLESS = f"import itertools, pocketuni; model = pocketuni.Model({str(MODEL)!r}, threads=2); text = {TEXT!r}\n"
needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")


def python(program, **options):
    """Starts a Python process that runs a program, in a folder where no sources of the package lie."""
    code = ENDLESS + textwrap.dedent(program)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, **pipes, **options)


def digest(model):
    return hashlib.sha256(model.say(TEXT, seed=3).samples.tobytes()).hexdigest()


def test_processes_say_the_same():
    want = digest(pocketuni.Model(MODEL, threads=1))
    program = "import hashlib; print(hashlib.sha256(model.say(text, seed=3).samples.tobytes()).hexdigest())"
    for hash_seed in ("1", "2"):
        out, errors = python(program, env={**os.environ, "PYTHONHASHSEED": hash_seed}).communicate(timeout=120)
        assert (out.strip(), errors) == (want, "")


def speak_and_send(connection, model, stream):
    rest = hashlib.sha256(b"".join(chunk.samples.tobytes() for chunk in stream)).hexdigest()
    connection.send((rest, digest(model)))


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 3])
def test_a_forked_child_goes_on_with_model_and_stream(threads):
    """Made before the fork, with threads that the child does not have: both go on with the same samples."""
    model = pocketuni.Model(MODEL, threads=threads)
    stream = model.stream(TEXT * 3, chunk_frames=4)
    next(stream)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=speak_and_send, args=(there, model, stream))
    child.start()
    assert here.poll(120), "the child waits for something that it does not have"
    got = here.recv()
    child.join(60)
    assert child.exitcode == 0
    rest = hashlib.sha256(b"".join(chunk.samples.tobytes() for chunk in stream)).hexdigest()
    assert got == (rest, digest(model))


@pytest.mark.parametrize("daemon", [True, False])
def test_the_interpreter_may_end_during_a_stream(daemon):
    """With chunks being computed in threads: daemons are dropped, others end their speech first."""
    program = f"""
        import threading
        def speak():
            for count, chunk in enumerate(model.stream(itertools.repeat(text), chunk_frames=8)):
                started.set()
                if not {daemon} and count == 50:
                    break
        threads = [threading.Thread(target=speak, daemon={daemon}) for _ in range(4)]
        started = threading.Event()
        for thread in threads:
            thread.start()
        started.wait()
        held = model.stream(text)
        next(held)
        print("leaves")
    """
    process = python(program)
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out, errors) == (0, "leaves\n", "")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_interrupts_end_speech_at_the_next_chunk():
    program = """
        import signal, sys, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs hand on that they ignore it
        try:
            print("begins", flush=True)
            for chunk in model.stream(itertools.repeat(text)):
                pass
        except KeyboardInterrupt:
            begin = time.perf_counter()
            print(len(model.say("One more.").samples) > 0, flush=True)  # the model is as usable as before
            sys.exit(7)
    """
    process = python(program)
    assert process.stdout.readline() == "begins\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (7, "True\n", "")


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_signals_that_are_handled_do_not_disturb_speech():
    """A timer that fires every millisecond interrupts whatever waits in the system."""
    program = """
        import hashlib, signal
        plain = model.say(text * 20).samples.tobytes()
        fired = []
        signal.signal(signal.SIGALRM, lambda *_: fired.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        disturbed = [model.say(text * 20).samples.tobytes() for _ in range(5)]
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(len(fired) > 0, set(disturbed) == {plain})
    """
    out, errors = python(program).communicate(timeout=120)
    assert (out, errors) == ("True True\n", "")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity masks")
def test_one_cpu_is_one_thread():
    program = """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from pocketuni import _core
        print(_core.usable_cpus(), _core.Session(_core.Model(model.path), "voice.encoder", 0).threads)
    """
    program = program.replace("model.path", repr(str(MODEL)))
    out, errors = python(program).communicate(timeout=120)
    assert (out, errors) == ("1 1\n", "")
