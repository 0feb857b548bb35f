"""A small Pocket TTS model with random weights, made once."""

import pytest
from pocket import random_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    pytest.importorskip("yaml", reason="needs pyyaml: pip install '.[tools]'")
    pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install '.[text]'")
    return random_model.write_folder(tmp_path_factory.mktemp("pocket") / "model", random_model.small_config())


@pytest.fixture(scope="session")
def file(folder):
    from pocketuni_tools.convert import convert
    from pocketuni_tools.import_pocket_tts import import_pocket_tts

    convert(import_pocket_tts(folder), folder / "model.puni", "int8")
    return folder / "model.puni"
