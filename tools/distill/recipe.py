"""The voice from recordings: every step, one after the other, as commands that can also be run by themselves.

    python -m distill.recipe --work WORK                 # nine hours of two cores, by estimate
    python -m distill.recipe --work WORK --share 0.02    # a trial: all steps, hardly trained
    python -m distill.recipe --work WORK --list          # the commands, and which of them are done

A step that is done is not done again, and most go on where they were stopped: start the same command again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

# Module and arguments. Recordings with F0, phase, text, units and speaker vectors; the first vocoder; the towers; the
# vocoder on mels as they are predicted; its finish in the runtime's arithmetic, by recordings and by its teacher; the
# file.
STEPS = """
packed --work WORK
source --work WORK
train_pitch --work WORK --steps 1500
source --work WORK --reader WORK/vocoder/pitch.pt
train_vocoder --work WORK --steps 4700 --stop 2300
transcribe --work WORK
prepare --work WORK
speaker_data --work WORK
prepare --work WORK --cached --shifted
likeness --work WORK
warped --work WORK
train_acoustic --work WORK --minutes 150
train_acoustic --work WORK --name finish --start WORK/acoustic/checkpoint.pt --rounded --minutes 15 --rate 3e-4
train_speaker --work WORK --minutes 58
train_activity --work WORK --minutes 20
train_g2p --work WORK/g2p --epochs 16
make_lexicon --work WORK/g2p
evaluate_voice --work WORK --acoustic WORK/finish/checkpoint.pt --predict --corpora ljspeech vctk-p239
train_pitch --work WORK --start WORK/vocoder/pitch.pt --steps 1250 --rate 7e-4 --predicted 0.6
train_vocoder --work WORK --steps 4700 --predicted 0.6
export --work WORK --acoustic WORK/finish/checkpoint.pt --vocoder WORK/vocoder/student/vocoder.pt --out WORK/first.puni
taught WORK/first.puni --work WORK --sentences 500
train_vocoder --work WORK --name finish --start WORK/vocoder/student/vocoder.pt --rounded --predicted 0.6 --taught 0.25 --taught-hz 2000 --steps 1500 --rate 3e-4
export --work WORK --acoustic WORK/finish/checkpoint.pt --vocoder WORK/vocoder/finish/vocoder.pt --out WORK/voice.puni
compensate WORK/voice.puni -o WORK/voice.puni
""".strip().splitlines()  # noqa: E501
TRAINING = ("--minutes", "--steps", "--stop", "--epochs", "--sentences")


def command(step: str, work: Path, share: float) -> list[str]:
    """Arguments of Python for a step, with `share` of its training: whole steps and epochs, one at least."""
    words = [word.replace("WORK", str(work)) for word in step.split()]
    for i, name in enumerate(words[:-1]):
        if name in TRAINING:
            amount = int(words[i + 1]) * share
            words[i + 1] = f"{amount:g}" if name == "--minutes" else str(max(1, round(amount)))
    return ["-m", f"distill.{words[0]}", *words[1:]]


def mark(path: Path, done: dict[str, float]) -> None:
    """Written beside and renamed, so that the file is whole or absent."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for features, checkpoints and the voice")
    parser.add_argument("--share", type=float, default=1.0, help="of the training's steps, epochs and minutes (1.0)")
    parser.add_argument("--list", action="store_true", help="print the commands, run nothing")
    options = parser.parse_args()
    if not 0 < options.share <= 1:
        parser.error(f"--share is {options.share}, expected above 0, and 1 at most")
    path = options.work / "recipe.json"  # seconds that each step took, by its command
    done: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    todo = [command(step, options.work, options.share) for step in STEPS]
    if options.list:
        for words in todo:
            took = done.get(shlex.join(words))
            print("python", shlex.join(words), "" if took is None else f"  # done in {took:.0f} s")
        return
    options.work.mkdir(parents=True, exist_ok=True)
    folders = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(folder for folder in folders if folder)}
    for number, words in enumerate(todo):
        name = shlex.join(words)
        if name in done:
            continue
        print(f"{time.strftime('%H:%M:%S')} step {number + 1} of {len(todo)}: python {name}", flush=True)
        begin = time.monotonic()
        status = subprocess.run([sys.executable, *words], env=surroundings, check=False).returncode
        if status != 0:
            sys.exit(f"step {number + 1} of {len(todo)} failed, see above; the same command goes on with this step")
        done[name] = time.monotonic() - begin
        mark(path, done)
    print(f"done: {options.work / 'voice.puni'}; distill.judge prints its figures")


if __name__ == "__main__":
    main()
