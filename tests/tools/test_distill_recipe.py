"""The recipe: its commands are ones that their modules take, what is done is not done again, a failure is told."""

import json
import re

import pytest
from distill import recipe


@pytest.mark.parametrize("step", recipe.STEPS)
def test_a_step_s_module_knows_its_options(step, monkeypatch, capsys):
    name, *words = step.split()
    module = pytest.importorskip(f"distill.{name}", reason=f"{name} needs more packages", exc_type=ImportError)
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit):
        module.main()
    told = re.findall(r"(?<![\w-])-[\w-]+", capsys.readouterr().out)
    assert [word for word in words if word.startswith("-") and word not in told] == []


def test_a_share_is_of_training_alone(tmp_path):
    assert recipe.command("prepare --work WORK", tmp_path, 0.02) == ["-m", "distill.prepare", "--work", str(tmp_path)]
    words = recipe.command("train_vocoder --work WORK --steps 4700 --stop 20 --rate 3e-4", tmp_path, 0.02)
    assert words[4:] == ["--steps", "94", "--stop", "1", "--rate", "3e-4"]
    assert recipe.command("train_speaker --minutes 58", tmp_path, 0.02)[-1] == "1.16"


def run(monkeypatch, folder, steps, *more):
    monkeypatch.setattr(recipe, "STEPS", steps)
    monkeypatch.setattr("sys.argv", ["recipe", "--work", str(folder), *more])
    recipe.main()


def test_it_goes_on_with_the_step_that_failed(monkeypatch, tmp_path, capfd):
    folder = tmp_path / "work"
    with pytest.raises(SystemExit, match="step 2 of 2 failed"):
        run(monkeypatch, folder, ["recipe --help", "recipe --wrong"])
    assert list(json.loads((folder / "recipe.json").read_text())) == ["-m distill.recipe --help"]
    run(monkeypatch, folder, ["recipe --help", "recipe -h"])
    told = capfd.readouterr().out
    assert told.count("step 1 of 2") == 1 and told.count("step 2 of 2") == 2 and "done: " in told
    run(monkeypatch, folder, ["recipe --help", "recipe -h"], "--list")
    assert capfd.readouterr().out.count("# done in") == 2


def test_a_share_of_nothing_is_refused(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, [], "--share", "0")
    assert "expected above 0" in capsys.readouterr().err
