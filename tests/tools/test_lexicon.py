"""The dictionary blob, the letter-to-sound tower, and how well it pronounces words that it has never seen."""

import os
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from distill import g2p_net, lexicon_blob, make_lexicon, train_g2p  # noqa: E402
from pocketuni_tools.evaluate import evaluate  # noqa: E402
from speech import make_frontend  # noqa: E402

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests/speech/frontend.puni"


def say(text):
    return make_lexicon.ids(text)


def test_codes_are_complete_free_of_prefixes_and_short():
    for counts in ([5, 1, 0, 9], [0] * 28, [2**i for i in range(40)], list(range(70))):
        lengths = lexicon_blob.code_lengths(counts)
        codes = sorted(lexicon_blob.canonical_codes(lengths))
        assert max(lengths) <= lexicon_blob.LONGEST_CODE
        assert sum(Fraction(1, 2**length) for length in lengths) == 1
        assert not any(b.startswith(a) for a, b in zip(codes, codes[1:], strict=False))


def test_words_that_cannot_be_stored_are_refused():
    for word in ("", "Upper", "two words", "x" * 65, "caf\u00e9"):
        with pytest.raises(ValueError, match="cannot be stored"):
            lexicon_blob.encode_lexicon({word: (1,)}, [])
    with pytest.raises(ValueError, match="cannot be stored"):
        lexicon_blob.encode_lexicon({"long": (1,) * 65}, [])


def test_the_model_of_the_cpp_tests_is_what_its_script_writes(tmp_path, monkeypatch):
    written = tmp_path / "frontend.puni"
    monkeypatch.setattr("sys.argv", ["make_frontend.py", str(written)])
    make_frontend.main()
    assert written.read_bytes() == MODEL.read_bytes()


def test_words_are_formed_from_stored_stems():
    stored = {"walk": say("W AO1 K"), "wish": say("W IH1 SH"), "cry": say("K R AY1"), "make": say("M EY1 K")}
    assert make_lexicon.from_stem("walked", stored) == say("W AO1 K T")
    assert make_lexicon.from_stem("wishes", stored) == say("W IH1 SH IH0 Z")
    assert make_lexicon.from_stem("cries", stored) == say("K R AY1 Z")
    assert make_lexicon.from_stem("making", stored) == say("M EY1 K IH0 NG")
    assert make_lexicon.from_stem("talked", stored) is None


def test_one_primary_stress():
    assert make_lexicon.settle_stress(say("EH1 F B IY1")) == say("EH1 F B IY2")
    assert make_lexicon.settle_stress(say("AH0 B EH2 T")) == say("AH0 B EH1 T")
    assert make_lexicon.settle_stress(say("M AH0")) == say("M AH1")
    assert make_lexicon.settle_stress(say("S T")) == say("S T")


def test_only_what_the_network_gets_wrong_is_stored():
    net = make_frontend.tower_net()
    words = ["cat", "cats", "dog", "dogs", "walk"]
    guesses = dict(zip(words, g2p_net.pronounce(net, words), strict=True))
    dictionary = {word: [say("K AE1 T")] for word in words} | {"dogs": [say("K AE1 T S")]}
    dictionary["walk"] = [make_lexicon.settle_stress(guesses["walk"])]
    stored = make_lexicon.exceptions(net, dictionary)
    assert "walk" not in stored and stored["dog"] == say("K AE1 T")
    assert "dogs" not in stored, "the rules make it from 'dog'"
    assert "cats" in stored, "the rules make something else of it"


def test_a_word_is_pronounced_the_same_in_any_batch():
    net, words = make_frontend.tower_net(), ["a", "banana", "antidisestablishmentarianism", "it's"]
    alone = [g2p_net.pronounce(net, [word])[0] for word in words]
    assert g2p_net.pronounce(net, words) == alone


def test_the_tower_is_the_network():
    net = make_frontend.tower_net()
    graph = make_lexicon.g2p_graph(net)
    for word in ("a", "hello", "o'clock"):
        letters = np.array([g2p_net.letter_ids(word)])
        scores = evaluate(graph, {"letters": letters})["scores"]
        with torch.no_grad():
            expected = net(torch.from_numpy(letters))[1].reshape(1, -1, g2p_net.SLOTS * g2p_net.LABELS)
        np.testing.assert_allclose(scores, expected.numpy(), atol=2e-4)


def test_the_runtime_says_what_the_dictionary_was_made_for():
    pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
    net, shuffler = make_lexicon.quantized(make_frontend.tower_net()), random.Random(3)
    words = ["".join(shuffler.choices(g2p_net.LETTERS, k=shuffler.randint(1, 12))) for _ in range(200)]
    same = 0
    with pocketuni.Model(MODEL, threads=1) as model:
        for word, expected in zip(words, g2p_net.pronounce(net, words), strict=True):
            scores = model.towers["g2p"].run(letters=[g2p_net.letter_ids(word)])["scores"]
            same += g2p_net.collapse(scores.reshape(-1, g2p_net.LABELS).argmax(1).tolist()) == expected
    assert same >= 198


def test_unseen_words_are_pronounced():
    """Of CMU's dictionary, one word in twenty was kept out of training."""
    work = os.environ.get("POCKETUNI_G2P_WORK")
    if not work or not train_g2p.CMUDICT.exists():
        pytest.skip("needs ../shared/data and POCKETUNI_G2P_WORK, the folder of train_g2p's checkpoint")
    dictionary = g2p_net.read_cmudict(train_g2p.CMUDICT)
    held_out = [word for word in dictionary if g2p_net.is_held_out(word)]
    net = make_lexicon.quantized(g2p_net.load_net(Path(work) / "g2p.pt"))
    words, phones = train_g2p.accuracy(net, held_out, dictionary)
    print(f"held-out words right: {words:.4f}, phone errors: {phones:.4f}")
    assert words > 0.6 and phones < 0.1
