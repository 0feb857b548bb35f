"""What the importer of Pocket TTS models makes of checkpoints, and what it refuses."""

import json

import numpy as np
import pytest

pytest.importorskip("yaml", reason="needs pyyaml: pip install '.[tools]'")
pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install '.[text]'")
pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

from pocket import random_model  # noqa: E402
from pocketuni_tools.convert import convert, main  # noqa: E402
from pocketuni_tools.import_pocket_tts import import_pocket_tts  # noqa: E402
from pocketuni_tools.pocket_checkpoints import RENAMED_LM  # noqa: E402
from pocketuni_tools.pocket_config import read_config  # noqa: E402
from pocketuni_tools.pocket_precision import LatentMeter, rounded, wide_weights  # noqa: E402
from pocketuni_tools.pocket_weights import read_safetensors  # noqa: E402


def changed(folder, tmp_path, change):
    import yaml

    copy = tmp_path / "changed"
    copy.mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.model"):
        (copy / name).write_bytes((folder / name).read_bytes())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    return copy


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c.update(speed=2), "speed is not a field"),
        (lambda c: c["flow_lm"]["flow"].update(type="magic"), "flow_lm.flow.type is 'magic'"),
        (lambda c: c["flow_lm"]["flow"].pop("dim"), "flow_lm.flow.dim is missing"),
        (lambda c: c["mimi"]["seanet"].update(pad_mode="reflect"), "mimi.seanet.pad_mode is 'reflect'"),
        (lambda c: c["mimi"]["seanet"].update(ratios="5"), "mimi.seanet.ratios is '5', expected a list"),
        (lambda c: c["mimi"].update(frame_rate=13.0), "mimi.frame_rate is 13.0"),
        (lambda c: c["flow_lm"]["transformer"].update(d_model=72), "lookup_table.dim is 64, expected d_model"),
        (lambda c: c["flow_lm"]["transformer"].update(num_layers=3), "layers.2.norm1.weight' is missing"),
        (lambda c: c["flow_lm"]["transformer"].update(num_layers=1), "have no place in the configuration"),
        (lambda c: c["flow_lm"]["flow"].update(dim=40), r"is \[48, 8\], the configuration asks for \[40, 8\]"),
        (lambda c: c["flow_lm"]["lookup_table"].update(n_bins=97), "has 96 tokens, flow_lm.lookup_table.n_bins is 97"),
    ],
)
def test_what_does_not_fit_is_named(folder, tmp_path, change, fault):
    copy = changed(folder, tmp_path, change)
    with pytest.raises(ValueError, match=fault):
        import_pocket_tts(copy)


def test_auto_keeps_in_int8_what_int4_harms(folder, tmp_path):
    arrays = {name: np.array(array) for name, array in read_safetensors(folder / "model.safetensors").items()}
    heavy = "flow_lm.transformer.layers.1.linear1.weight"
    arrays[heavy] = arrays[heavy] ** 3 * 30  # a group's few large weights leave little for the others
    random_model.write_safetensors(tmp_path / "heavy.safetensors", arrays)
    small = {}
    for plan in ("int4", "auto"):
        report = convert(import_pocket_tts(folder, tmp_path / "heavy.safetensors"), tmp_path / "heavy.puni", plan)
        encodings = {layer["name"]: layer["encoding"] for layer in report["layers"]}
        small[plan] = {name for name, encoding in encodings.items() if encoding == "gemm_i4"}
        assert report["outputs"]["lm.2"]["y"]["snr_db"] > 15
    name = "flow_lm.transformer.layers.1.up.weight"
    assert name not in small["int4"] | small["auto"], "the one that harms most stays int8 first"
    assert small["auto"] <= small["int4"] and len(small["auto"]) < len(small["int4"])


def test_errors_of_weights_add_up_to_that_of_all(folder):
    """What the choice between int4 and int8 rests on."""
    source = import_pocket_tts(folder)
    meter = LatentMeter(source.towers, read_config(folder / "config.yaml"))
    single, together, feed = 0.0, {}, meter.feeds[0]
    for place in range(3):
        graph = meter.graphs[f"lm.{place}"]
        for name in wide_weights(graph):
            single += meter.noise_share(place, name)
            together.setdefault(place, {})[name] = rounded(graph.constants[name])
    for place in range(2):
        feed = meter.step(place, feed, together[place])
    error = meter.draw(feed, together[2]) - meter.plain
    share = np.square(error).sum() / np.square(meter.plain).sum()
    assert 1e-4 < share < 0.1 and 0.4 < share / single < 2.5


# Checkpoints in parts, and of trainings.


def spoken(path):
    with pocketuni.Model(path, threads=1) as model:
        return model.say("Hello.").samples


def test_weights_in_two_files_make_the_same_model(folder, file, tmp_path):
    arrays = {name: np.array(array) for name, array in read_safetensors(folder / "model.safetensors").items()}
    back = {new: old for old, new in RENAMED_LM.items()}
    lm = {name.removeprefix("flow_lm."): a for name, a in arrays.items() if name.startswith("flow_lm.")}
    lm = {back.get(name, name).replace("in_proj.weight", "in_proj_weight"): a for name, a in lm.items()}
    lm["num_ema_updates"] = np.zeros(1, np.float32)
    codec = {}
    for name, array in arrays.items():
        if name.startswith("mimi."):
            long = name.removeprefix("mimi.").replace(".conv.", ".conv.conv.").replace(".convtr.", ".convtr.convtr.")
            if "encoder.model.0.conv." in long and long.endswith(".weight"):
                length = np.sqrt(np.square(array).sum(axis=(1, 2), keepdims=True))
                codec |= {f"model.{long}_g": length, f"model.{long}_v": 3 * array}
            else:
                codec[f"model.{long.replace('in_proj.weight', 'in_proj_weight')}"] = array
    parts = changed(
        folder,
        tmp_path,
        lambda c: (
            c.pop("weights_path"),
            c["flow_lm"].update(weights_path="lm.safetensors"),
            c["mimi"].update(weights_path="hf://a/b/mimi.safetensors@1"),
        ),
    )
    random_model.write_safetensors(parts / "lm.safetensors", lm)
    random_model.write_safetensors(parts / "mimi.safetensors", codec)
    convert(import_pocket_tts(parts), tmp_path / "parts.puni", "int8")
    assert np.array_equal(spoken(tmp_path / "parts.puni"), spoken(file))
    lone = changed(folder, tmp_path / "lone", lambda c: c["flow_lm"].update(weights_path="lm.safetensors"))
    with pytest.raises(ValueError, match=r"mimi.weights_path is not"):
        import_pocket_tts(lone)


def test_checkpoints_of_trainings_are_read(folder, file, tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")
    arrays = {name: np.array(array) for name, array in read_safetensors(folder / "model.safetensors").items()}
    whole = {name: torch.from_numpy(array) for name, array in arrays.items()}
    lm = {name: tensor for name, tensor in whole.items() if name.startswith("flow_lm.")}
    average = dict(list(lm.items())[:5])
    stale = {**lm, **{name: tensor + 1 for name, tensor in average.items()}}
    for name, payload in (("whole", {"model": whole}), ("average", {"model": stale, "ema": average, "step": 7})):
        torch.save(payload, tmp_path / f"{name}.pt")
        convert(import_pocket_tts(folder, tmp_path / f"{name}.pt"), tmp_path / f"{name}.puni", "int8")
        assert np.array_equal(spoken(tmp_path / f"{name}.puni"), spoken(file)), name
    torch.save({"weights": whole}, tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 and no more")
    for name, fault in (("other", "holds no 'model' weights"), ("broken", "cannot? be read|can be read safely")):
        with pytest.raises(ValueError, match=fault):
            import_pocket_tts(folder, tmp_path / f"{name}.pt")


def test_missing_files_are_named(folder, tmp_path, capsys):
    copy = changed(folder, tmp_path, lambda config: None)
    (copy / "model.safetensors").unlink()
    assert main(["pocket-tts", str(copy), "-o", str(tmp_path / "x.puni")]) == 1
    assert "model.safetensors" in capsys.readouterr().err
    (copy / "tokenizer.model").unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer.model"):
        import_pocket_tts(copy)
    with pytest.raises(FileNotFoundError, match="neither a file nor a folder"):
        import_pocket_tts(tmp_path / "nothing")


def test_broken_weights_are_refused(tmp_path):
    head = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    for data in (b"", b"12345678", len(head).to_bytes(8, "little") + head + bytes(12), (1 << 40).to_bytes(8, "little")):
        (tmp_path / "bad.safetensors").write_bytes(data)
        with pytest.raises(ValueError, match="not a valid safetensors file"):
            read_safetensors(tmp_path / "bad.safetensors")


def test_weights_without_cloning_speak_but_do_not_clone(folder, tmp_path):
    arrays = read_safetensors(folder / "model.safetensors")
    kept = {name: np.array(array) for name, array in arrays.items() if not name.startswith("mimi.encoder")}
    kept["flow_lm.speaker_proj_weight"][:] = 0
    random_model.write_safetensors(tmp_path / "without.safetensors", kept)
    convert(import_pocket_tts(folder, tmp_path / "without.safetensors"), tmp_path / "without.puni", "fp16")
    with pocketuni.Model(tmp_path / "without.puni") as model:
        assert len(model.say("Hello.")) > 0
        with pytest.raises(ValueError, match="cannot clone"):
            model.voice((np.sin(np.arange(8000, dtype=np.float32)), 8000))
