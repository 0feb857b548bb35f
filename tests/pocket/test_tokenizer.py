"""Pieces of text, id for id against the libraries `sentencepiece` and `tokenizers`."""

import random

import pytest

sentencepiece = pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install '.[text]'")
pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

from pocket import random_model  # noqa: E402
from pocketuni_tools.pocket_tokenizer import of_model, read_tokenizer  # noqa: E402

from pocketuni import _core  # noqa: E402

KINDS = [("unigram", False), ("unigram", True), ("bpe", False), ("bpe", True)]
LETTERS = "abct .,;!?'\u2019\u00e9\u00df\u03a9\U0001f600\u2581 \t"


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}{'-bytes' if kind[1] else ''}")
def path(request, tmp_path_factory):
    kind, fallback = request.param
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text(random_model.TEXT.replace(". ", ".\n"), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=350 if fallback else 96,
        model_type=kind,
        byte_fallback=fallback,
        user_defined_symbols=["<pause>", "well"],
        minloglevel=2,
    )
    return folder / "tokenizer.model"


def texts():
    generator = random.Random(0)
    fixed = [
        random_model.TEXT,
        "",
        "  ",
        " a  b ",
        "\ufb01 \u00bd \uff46\uff55\uff4c\uff4c \u2116",
        "e\u0301 \u2026",
        "x" * 300,
    ]
    return [*fixed, *("".join(generator.choices(LETTERS, k=generator.randrange(30))) for _ in range(500))]


def test_ids_and_texts_are_those_of_sentencepiece(path):
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    mine = _core.PocketText(read_tokenizer(path, "sentencepiece").pack())
    generator = random.Random(1)
    for text in [*texts(), "well, <pause>well!"]:
        ids = library.encode(text, out_type=int)
        assert mine.encode(text) == ids, text
        first, last = sorted(generator.choices(range(len(ids) + 1), k=2))
        assert mine.decode(ids[first:last]) == library.decode(ids[first:last]), text


def test_ids_are_those_of_tokenizers(path):
    tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers: pip install '.[text]'")
    vocabulary = of_model(path.read_bytes())
    if vocabulary.kind == 1:
        pytest.skip("only unigram models are stored so")
    model = tokenizers.models.Unigram(
        # Pieces of users are scored as others are, since such files have none that are never cut.
        [(text, -20.0 if kind == 3 else score) for text, score, kind in vocabulary.pieces],
        vocabulary.unknown,
        bool(vocabulary.flags & 4),
    )
    library = tokenizers.Tokenizer(model)
    spaces = tokenizers.normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    library.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Precompiled(vocabulary.charsmap), spaces]
    )
    library.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="always")
    special = [text for text, _, kind in vocabulary.pieces if kind in (1, 2)]
    library.add_special_tokens([tokenizers.AddedToken(text, normalized=False) for text in special])
    library.save(str(path.with_suffix(".json")))
    mine = _core.PocketText(read_tokenizer(path.with_suffix(".json"), "tokenizers").pack())
    for text in texts():
        text = " ".join(text.replace("\u2581", " ").split())
        assert mine.encode(text) == library.encode(text).ids, text


def test_broken_tokenizers_are_refused(path, tmp_path):
    packed = read_tokenizer(path, "sentencepiece").pack()
    for broken in (b"", b"PUTK", packed[:100], packed + b"\0", b"X" + packed[1:]):
        with pytest.raises(ValueError, match="tokenizer"):
            _core.PocketText(broken)
    for name, data, kind in (
        ("a.model", b"\xff" * 40, "sentencepiece"),
        ("b.model", path.read_bytes()[:-7], "sentencepiece"),
        ("c.json", b"{}", "tokenizers"),
        ("d.json", b'{"model": {"type": "WordPiece"}}', "tokenizers"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}: the tokenizer cannot be read"):
            read_tokenizer(tmp_path / name, kind)
