"""Models, towers and embeddings as Python users meet them."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden import make
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
from pocketuni.embedding import batches  # noqa: E402

TEXT = make.FOLDER / "text.puni"
ENCODINGS = make.FOLDER / "encodings.puni"
FEED = {"input_ids": [[2, 4, 5, 3]], "attention_mask": [[1, 1, 1, 1]]}
WORDS = ["a model", "", "runs on the cpu of your machine", "one file is all it needs, a model. a model. a model"]


@pytest.fixture
def model():
    with pocketuni.Model(TEXT, threads=1) as opened:
        yield opened


@pytest.fixture
def embedder(model):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    return model


def test_towers_tell_their_inputs_and_outputs(model):
    tower = model.towers["text"]
    assert list(model.towers) == ["text"] and tower.name == "text"
    assert tower.inputs == dict.fromkeys(FEED, pocketuni.TensorSpec(("batch", "sequence"), "int64"))
    assert tower.outputs == {"embedding": pocketuni.TensorSpec(("batch", 32), "float32")}
    assert "sequence" in str(tower.inputs) and tower.threads == 1 and tower.isa in pocketuni._core.usable_isas()


def test_shapes_that_only_a_run_knows():
    outputs = pocketuni.Model(make.FOLDER / "attributes.puni").towers["mixed"].outputs
    assert outputs["flat"].shape == ("batch", "?")
    assert outputs["sums"].shape == (1, "sequence", 1)


def test_info(model):
    info = model.info
    assert (info["name"], info["licence"]) == ("words", "Apache-2.0")
    assert info["provenance"] == {"source": "tests/golden/make.py"}
    assert info["report"] is None
    assert (info["file"], info["file_size"]) == (str(TEXT), TEXT.stat().st_size)
    assert info["towers"]["text"]["inputs"]["input_ids"] == {"shape": ["batch", "sequence"], "dtype": "int64"}
    assert info["towers"]["text"]["operators"] == 7
    assert info["sizes"].keys() == {"rows_i4", "gemm_i8", "f32", "gemm_i4"}
    assert model.blob("LICENCE") == b"Apache-2.0\n"
    with pytest.raises(ValueError, match="no blob 'vocab.txt'"):
        model.blob("vocab.txt")


def test_results_are_new_arrays(model):
    first = model.towers["text"].run(**FEED)["embedding"]
    copy = first.copy()
    second = model.towers["text"].run(input_ids=[[2, 9, 3]], attention_mask=[[1, 1, 1]])["embedding"]
    first += 1
    np.testing.assert_array_equal(first, copy + 1)
    assert not np.array_equal(second, copy)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "uint64", "bool", ">i4"])
def test_integers_of_every_width_are_taken(model, dtype):
    want = model.towers["text"].run(**FEED)["embedding"]
    mask = np.ones((1, 4), dtype)
    np.testing.assert_array_equal(
        model.towers["text"].run(input_ids=FEED["input_ids"], attention_mask=mask)["embedding"], want
    )


def test_layouts_do_not_matter(model):
    ids = np.array([[2, 4, 5, 3], [2, 9, 9, 3]])
    mask = np.ones_like(ids)
    want = model.towers["text"].run(input_ids=ids, attention_mask=mask)["embedding"]
    strided = np.zeros((4, 8), np.int64)
    strided[::2, ::2] = ids
    for view in (np.asfortranarray(ids), strided[::2, ::2], ids[::-1][::-1]):
        got = model.towers["text"].run(input_ids=view, attention_mask=mask)["embedding"]
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"input_ids": None}, "input 'input_ids' is missing; expected 'input_ids' 'attention_mask', got '"),
        ({"token_types": [[0]]}, "an input is unknown; expected 'input_ids' 'attention_mask', got"),
        ({"input_ids": [2, 4, 5, 3]}, "input 'input_ids': expected 2 dimensions, got shape [4]"),
        ({"input_ids": [[2, 4, 3]]}, "dimension 'sequence' is 4, but 'input_ids' gave 3"),
        ({"input_ids": [[2.0, 4, 5, 3]]}, "input 'input_ids': expected int64, got float64"),
        ({"input_ids": np.ones((1, 4), np.float32)}, "input 'input_ids': expected int64, got float32"),
        ({"input_ids": [["a", "b"]]}, "input 'input_ids': expected int64, got <U1"),
        ({"input_ids": [[1], [2, 3]]}, "input 'input_ids': not an array"),
        ({"input_ids": np.full((1, 4), 2**63, np.uint64)}, "input 'input_ids': a value does not fit int64"),
        ({"input_ids": [[2, 22, 5, 3]]}, "index 22 is outside its table of 21 rows"),
        ({"input_ids": [[2, -1, 5, 3]]}, "index -1 is outside its table of 21 rows"),
    ],
)  # fmt: skip
def test_wrong_inputs_say_expected_and_got(model, changes, text):
    feed = {name: value for name, value in {**FEED, **changes}.items() if value is not None}
    with pytest.raises(ValueError) as error:
        model.towers["text"].run(**feed)
    assert text in str(error.value)
    assert model.towers["text"].run(**FEED)["embedding"].shape == (1, 32), "a failed run leaves the tower usable"


def test_fixed_sizes_and_float_inputs():
    tower = pocketuni.Model(ENCODINGS).towers["matrices"]
    x, residual = make.numbers(1, 2, 36), make.numbers(2, 2, 17)
    assert tower.run(x=x.tolist(), residual=residual)["y_f32"].shape == (2, 17)
    with pytest.raises(ValueError, match=r"input 'x': dimension 1 is 35, expected 36"):
        tower.run(x=x[:, :35], residual=residual)
    with pytest.raises(ValueError, match=r"input 'x': expected float32, got float64"):
        tower.run(x=x.astype(np.float64), residual=residual)


def test_an_input_may_be_called_self(tmp_path):
    graph = Graph("tower")
    graph.add_input("self", "float32", ("n",))
    graph.outputs = graph.add_node("relu", ["self"], [Value("y", "float32", ("n",))])
    write_model(tmp_path / "self.puni", [graph])
    got = pocketuni.Model(tmp_path / "self.puni").towers["tower"].run(**{"self": [-1, 2]})
    np.testing.assert_array_equal(got["y"], np.float32([0, 2]))


def test_empty_batches_give_empty_results(model):
    empty = np.zeros((0, 5), np.int64)
    got = model.towers["text"].run(input_ids=empty, attention_mask=empty)["embedding"]
    assert got.shape == (0, 32) and got.dtype == np.float32


def test_nan_in_nan_out():
    tower = pocketuni.Model(ENCODINGS).towers["matrices"]
    x, residual = make.numbers(1, 3, 36), make.numbers(2, 3, 17)
    clean = tower.run(x=x, residual=residual)
    x[1, 7] = np.nan
    for isa in pocketuni._core.usable_isas():
        got = pocketuni.Model(ENCODINGS, isa=isa).towers["matrices"].run(x=x, residual=residual)
        for name, result in got.items():
            assert np.isnan(result[1]).all(), f"{isa}: {name} hides a NaN"
            assert not np.isnan(result[[0, 2]]).any(), f"{isa}: {name} spreads a NaN to other rows"
    assert not any(np.isnan(result).any() for result in clean.values())


def test_embeddings_have_unit_length_in_the_order_of_the_texts(embedder):
    vectors = embedder.embed(WORDS)
    assert vectors.shape == (4, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for text, row in zip(WORDS, vectors, strict=True):
        assert embedder.embed([text])[0].tobytes() == row.tobytes(), f"{text!r} depends on its batch"


def test_embed_takes_a_text_a_list_or_an_iterator(embedder):
    one = embedder.embed("a model")
    assert one.shape == (1, 32)
    np.testing.assert_array_equal(embedder.embed(iter(["a model"])), one)
    assert embedder.embed([]).shape == (0, 32)
    many = embedder.embed(WORDS * 40)
    np.testing.assert_array_equal(many, np.tile(embedder.embed(WORDS), (40, 1)))


def test_embed_cuts_at_the_maximum(embedder):
    np.testing.assert_array_equal(embedder.embed("file " * 10), embedder.embed("file " * 500))
    assert not np.array_equal(embedder.embed("file " * 9), embedder.embed("file " * 10))


@pytest.mark.parametrize(
    "texts, text", [(["a", None], "text 1 is NoneType"), ([b"a"], "text 0 is bytes"), ([["a"]], "list")]
)
def test_embed_refuses_what_is_not_a_text(embedder, texts, text):
    with pytest.raises(TypeError, match=text):
        embedder.embed(texts)


def test_embed_refuses_half_characters(embedder):
    with pytest.raises(ValueError, match="text 1 holds half a surrogate pair at position 2"):
        embedder.embed(["fine", "a \ud800"])


def test_embed_needs_a_text_tower():
    with pytest.raises(ValueError, match=r"encodings.puni: none of the model's towers embeds text .*matrices, tables"):
        pocketuni.Model(ENCODINGS).embed("a")


def test_missing_tokenizers_are_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'pocketuni\[text\]'"):
        model.embed("a")


def test_batches_are_of_similar_length_and_bounded():
    lengths = [5, 300, 1, 5, 2000, 0, 5000] + [7] * 70
    found = list(batches(lengths))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or (len(batch) <= 32 and len(batch) * max(lengths[i] for i in batch) <= 2048)
    assert all(len({lengths[i] for i in batch}) == 1 for batch in batches(lengths, padding=False))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A model whose tokenizer is SentencePiece, made here."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="the extra text is not installed")
    folder = tmp_path_factory.mktemp("pieces")
    lines = folder / "lines.txt"
    lines.write_text("".join(f"one file is all it needs {i % 7}\na model runs on the cpu {i % 5}\n" for i in range(50)))
    prefix = str(folder / "pieces")
    options = {"vocab_size": 40, "model_type": "unigram", "minloglevel": 2, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(input=str(lines), model_prefix=prefix, **options)
    golden = make.text()
    (tower,) = golden.towers
    table = tower.constants["embeddings"] = make.numbers(60, 64, 32)
    assert table.shape[0] >= 40
    embed = golden.meta["towers"]["text"]["embed"]
    embed |= {"kind": "sentencepiece", "tokenizer": "pieces.model", "bos": 1, "eos": 2, "pad": 0}
    golden.blobs = {"pieces.model": Path(prefix + ".model").read_bytes()}
    golden.write(folder / "pieces.puni")
    return folder / "pieces.puni", sentencepiece.SentencePieceProcessor(prefix + ".model")


def test_sentencepiece(pieces):
    path, processor = pieces
    model = pocketuni.Model(path)
    texts = ["one file is all it needs", "", "a model"]
    vectors = model.embed(texts)
    for text, vector in zip(texts, vectors, strict=True):
        ids = [1, *processor.encode(text)[:10], 2]
        feed = {"input_ids": [ids], "attention_mask": [[1] * len(ids)]}
        np.testing.assert_array_equal(model.towers["text"].run(**feed)["embedding"][0], vector)


def test_texts_without_any_token(pieces, tmp_path):
    """No text, no special tokens: nothing to attend to, and no NaN."""
    from puni_bytes import with_meta

    path, _ = pieces
    meta = (b'{"towers": {"text": {"embed": {"kind": "sentencepiece", "tokenizer": "pieces.model", "max_length": 12, '
            b'"mask": "attention_mask"}}}}')  # fmt: skip
    (tmp_path / "bare.puni").write_bytes(with_meta(path.read_bytes(), meta))
    model = pocketuni.Model(tmp_path / "bare.puni")
    for texts in (["", ""], ["", "a model", ""]):
        vectors = model.embed(texts)
        assert np.isfinite(vectors).all()
        assert not vectors[0].any(), "a text without tokens is the zero vector"


def test_options_are_checked():
    for threads in (0, -1, 65):
        with pytest.raises(ValueError, match=f"threads is {threads}, expected 1 to 64 or None"):
            pocketuni.Model(TEXT, threads=threads)
    with pytest.raises(TypeError):
        pocketuni.Model(TEXT, threads="2")
    with pytest.raises(ValueError, match="the instruction set 'mmx' cannot be used here; usable: ref"):
        pocketuni.Model(TEXT, isa="mmx")
    assert pocketuni.Model(TEXT, threads=3, isa="ref").towers["text"].threads == 3
    assert pocketuni.Model(str(TEXT), isa="ref").towers["text"].isa == "ref"


def test_the_environment_forces_an_isa(monkeypatch):
    monkeypatch.setenv("POCKETUNI_ISA", "ref")
    assert pocketuni.Model(TEXT).towers["text"].isa == "ref"
    monkeypatch.setenv("POCKETUNI_ISA", "sse9")
    with pytest.raises(ValueError, match="POCKETUNI_ISA=sse9 is not usable here; usable: ref"):
        pocketuni.Model(TEXT)


def test_there_is_a_clear_error_without_a_default_model(monkeypatch, tmp_path):
    monkeypatch.setattr(pocketuni.model, "DEFAULT_FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="no default model; pass the path of a .puni file"):
        pocketuni.Model()
    (tmp_path / "default.puni").write_bytes(TEXT.read_bytes())
    assert pocketuni.Model().path == str(tmp_path / "default.puni")


def test_closed_models_say_so(embedder):
    tower = embedder.towers["text"]
    embedder.embed("a")
    embedder.close()
    embedder.close()
    for use in (
        lambda: tower.run(**FEED),
        lambda: embedder.info,
        lambda: embedder.embed("a"),
        lambda: embedder.verify(),
    ):
        with pytest.raises(ValueError, match="text.puni: the model is closed"):
            use()
    assert "closed" in repr(embedder)


def test_repr_and_pickle(model):
    assert repr(model) == f"<pocketuni.Model {str(TEXT)!r}, towers: text>"
    assert repr(model.towers["text"]) == f"<pocketuni.Tower 'text' of {str(TEXT)!r}>"
    again = pickle.loads(pickle.dumps(model))
    assert again.towers["text"].threads == 1
    np.testing.assert_array_equal(
        again.towers["text"].run(**FEED)["embedding"], model.towers["text"].run(**FEED)["embedding"]
    )


def test_towers_outlive_the_variable_of_their_model():
    tower = pocketuni.Model(TEXT).towers["text"]
    assert tower.run(**FEED)["embedding"].shape == (1, 32)


def test_profile(model):
    tower = model.towers["text"]
    tower.set_profiling(True)
    for _ in range(3):
        tower.run(**FEED)
    profile = tower.profile()
    assert [entry["op"] for entry in profile] == [node["op"] for node in tower.nodes()]
    assert all(entry["runs"] == 3 and entry["seconds"] > 0 for entry in profile)
    tower.set_profiling(False)
    tower.run(**FEED)
    assert all(entry["runs"] == 0 for entry in tower.profile())


def test_importing_takes_no_tokenizer_library_and_no_torch(tmp_path):
    code = "import sys, pocketuni; print(sorted({'torch', 'onnx', 'tokenizers', 'sentencepiece'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"
