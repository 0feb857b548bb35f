"""Encoders whose tokenizers are SentencePiece models, as transformers saves them: the same tokens and embeddings as
there. Their weights are random, their tokenizers are trained here on the calibration text."""

import json

import numpy as np
import pytest
from pocketuni_tools.convert import convert
from pocketuni_tools.import_sentence_transformers import find_tokenizer, import_sentence_transformers
from pocketuni_tools.texts import calibration_texts

pocketuni = pytest.importorskip("pocketuni", reason="needs the extension module")
embedding = pytest.importorskip("pocketuni.embedding", reason="needs the extension module")
tokenization = pytest.importorskip("pocketuni.tokenization", reason="needs the extension module")
torch = pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[tools]'")
sentencepiece = pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install '.[tools]'")

PIECES = 320
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXTS = [
    "Hello world.",
    "",
    " ",
    "  two  spaces  ",
    "tab\tnew\nline\r\n\u2028end",
    "日本語のテキスト、中文 and한국어",
    "עברית العربية हिन्दी ไทย ελληνικά русский",
    "naïve café Ångström ﬁne ½ ① Ⅷ ｗｉｄｅ",
    "e\u0301 and \u00e9, \u1e9b\u0323",
    "😀 👩\u200d👩\u200d👧 🇩🇪 👍🏽",
    "\u200b\ufeff\u00a0\u00ad\u202eodd\u202c\u2060",
    "control\x01\x7f and nul\x00 and \ufffd",
    "HELLO ``quoted'' --- \u201cDas\u201d ... it's",
    "<s> </s> <pad> <unk> <mask> [CLS] [SEP] ▁ ##ing",
    "</s><pad>text",
    "a" * 300,
    "word " * 60,
    "3.14159 1,000,000 1e-5 user@example.com https://example.com/?a=b&c=%20",
]


def trained(folder, name, **options):
    """Writes a SentencePiece model of `PIECES` pieces."""
    with (folder / f"{name}.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(calibration_texts()),
            model_writer=file,
            model_type="unigram",
            vocab_size=PIECES,
            minloglevel=2,
            num_threads=1,
            **options,
        )


def xlm_roberta(folder):
    trained(folder, "sentencepiece.bpe")
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
    config = transformers.XLMRobertaConfig(vocab_size=PIECES + 2, max_position_embeddings=66, **SIZES, **ids)
    return transformers.XLMRobertaModel(config), {"tokenizer_class": "XLMRobertaTokenizer"}


def t5(folder):
    trained(folder, "spiece", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(vocab_size=PIECES + 4, **sizes)
    return transformers.T5EncoderModel(config), {"tokenizer_class": "T5Tokenizer", "extra_ids": 4}


def albert(folder):
    symbols = {"user_defined_symbols": ["[CLS]", "[SEP]", "[MASK]"]}
    trained(folder, "spiece", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, **symbols)
    config = transformers.AlbertConfig(vocab_size=PIECES, embedding_size=16, max_position_embeddings=64, **SIZES)
    return transformers.AlbertModel(config), {"tokenizer_class": "AlbertTokenizer"}


@pytest.fixture(scope="module", params=[xlm_roberta, t5, albert], ids=lambda make: make.__name__)
def folder(request, tmp_path_factory):
    """The encoder with the bare SentencePiece model, as such models were published for years."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    torch.manual_seed(0)
    model, settings = request.param(folder)
    with torch.no_grad():
        for parameter in model.parameters():  # fresh ones are so small that all embeddings are alike
            if parameter.ndim > 1:
                parameter.mul_(5)
    model.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def converted(folder):
    path = folder.parent / f"{folder.name}.puni"
    convert(import_sentence_transformers(folder, texts=calibration_texts()[:12]), path, "fp32")
    return embedding.TextEmbedder.of(pocketuni.Model(path))


def tokens_of(tokenizer, limit):
    return [tokenizer(text, truncation=True, max_length=limit)["input_ids"] for text in TEXTS]


def embeddings(folder, sequences):
    """The mean over the tokens of each sequence, by transformers."""
    encoder = transformers.AutoModel.from_pretrained(folder).eval()
    encoder = encoder.encoder if "t5" in folder.name else encoder
    with torch.inference_mode():
        rows = [encoder(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64)) for ids in sequences]
    return np.stack([row.last_hidden_state[0].mean(0).numpy() for row in rows])


def test_tokens_and_embeddings_are_those_of_transformers(folder):
    embedder = converted(folder)
    limit = 512 if "t5" in folder.name else 64
    wanted = tokens_of(transformers.AutoTokenizer.from_pretrained(folder), limit)
    for text, got, want in zip(TEXTS, embedder.tokenizer.encode(TEXTS), wanted, strict=True):
        assert got == want, text
    assert "t5" in folder.name or max(map(len, wanted)) == limit  # a text is cut
    assert embedder.tokenizer.pad == transformers.AutoTokenizer.from_pretrained(folder).pad_token_id
    expected = embeddings(folder, wanted)
    assert expected.std(axis=0).mean() > 0.05
    assert np.abs(embedder.embed(TEXTS) - expected).max() <= 1e-5


def test_a_saved_tokenizer_gives_the_same_tokens(folder, tmp_path):
    """The folder as transformers saves it today, with a tokenizer.json."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    wanted = tokens_of(tokenizer, 32)
    for place in (folder, tmp_path):
        entry, blob = find_tokenizer(place, {})
        assert entry == {"tokenizer": "tokenizer.json", "kind": "tokenizers"}
        assert tokenization.HuggingFaceTokenizer(blob, 32, None).encode(TEXTS) == wanted
