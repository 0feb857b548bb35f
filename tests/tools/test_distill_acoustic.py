"""The acoustic student: units and durations of recordings, the network, and its towers against it."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
for package in ("scipy", "soundfile", "tqdm", "matplotlib", "onnxruntime"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import prepare, shifted, speakers, units, voice_space  # noqa: E402
from distill.acoustic import (  # noqa: E402
    PITCH_CENTRE,
    PITCH_SCALE,
    Acoustic,
    Depthwise,
    Shape,
    places,
    round_durations,
    synthesize_mel,
    voice_pitch,
)
from distill.acoustic_graph import VARIANCES, decoder_graph, encoder_graph  # noqa: E402
from distill.align import Segment  # noqa: E402
from pocketuni_tools.evaluate import evaluate  # noqa: E402

SMALL = Shape(encoder=192, encoder_inner=48, encoder_blocks=2, decoder=32, decoder_inner=48, decoder_blocks=2, film=8)


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    model = Acoustic(SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.decoder.mean.normal_()
        model.decoder.deviation.uniform_(0.5, 2.0)
    return model.eval().requires_grad_(False)


def vector():
    return torch.nn.functional.normalize(torch.randn(192, generator=torch.Generator().manual_seed(3)), dim=0)


def test_tokens_carry_the_pause_behind_them():
    words = units.tokenize('Mr. Smith, "you" -- the well-known (or not) man: stop.')
    assert [w.text for w in words] == "mister smith you the well known or not man stop".split()
    assert [w.pause for w in words] == [0, 1, 5, 0, 0, 5, 0, 5, 5, 2]


def test_the_mark_that_closes_a_sentence_counts():
    assert units.tokenize('so he said, "why?", then')[3].pause == units.PAUSES["?"]


def test_digits_are_refused():
    with pytest.raises(ValueError, match="digits '42'"):
        units.tokenize("room 42")


def test_unit_ids_are_those_of_the_contract():
    assert units.COUNT == 75
    assert (units.PHONES["B"], units.PHONES["ZH"], units.PHONES["AA0"], units.PHONES["UW2"]) == (6, 29, 30, 74)


def segments():
    """Half a second of silence, two words with a silence of 1.2 s between them, a third after 50 ms, silence."""
    return [
        Segment(None, -1, 0.0, 0.5, 0.0),
        Segment("HH", 0, 0.5, 0.6, -10.0),
        Segment("AY1", 0, 0.6, 0.8, -10.0),
        Segment(None, -1, 0.8, 2.0, 0.0),
        Segment("Y", 1, 2.0, 2.1, -10.0),
        Segment("UW1", 1, 2.1, 2.3, -10.0),
        Segment(None, -1, 2.3, 2.35, 0.0),
        Segment("T", 2, 2.35, 2.5, -10.0),
        Segment(None, -1, 2.5, 3.0, 0.0),
    ]


def test_a_timeline_has_pauses_where_they_are_heard_and_marks_where_words_start():
    words = [units.Word("hi"), units.Word("you"), units.Word("t", units.PAUSES["?"])]
    line = prepare.timeline(segments(), words, 258)
    p = units.PHONES
    assert line.ids == [0, p["HH"], p["AY1"], units.COMMA, p["Y"], p["UW1"], p["T"], units.PAUSES["?"], 0]
    assert line.flags == [0, 1, 0, 0, 1, 0, 1, 0, 0]
    assert line.ends[-1] == 258


def test_long_silences_are_cut_and_durations_still_sum_to_the_frames():
    words = [units.Word("hi"), units.Word("you"), units.Word("t")]
    durations, kept = prepare.shorten(prepare.timeline(segments(), words, 258))
    assert durations.sum() == len(kept) < 258
    assert durations[0] == prepare.LEAD_FRAMES
    assert durations[3] == prepare.LONGEST_PAUSE
    assert tuple(durations[-2:]) == (prepare.TAIL_FRAMES - prepare.END_FRAMES, prepare.END_FRAMES)
    assert (np.diff(kept) > 0).all()


def test_kept_frames_are_found_again_in_the_whole():
    whole = np.random.default_rng(0).standard_normal((40, 80)).astype(np.float32)
    kept = np.r_[3:10, 20:31]
    assert (shifted.find_frames(whole[kept], whole) == kept).all()


def test_depthwise_and_its_gradients_are_those_of_a_grouped_convolution():
    torch.manual_seed(1)
    layer = Depthwise(6)
    x = torch.randn(2, 11, 6, requires_grad=True)
    weight = layer.weight.t()[:, None]
    expected = torch.nn.functional.conv1d(x.transpose(1, 2), weight, layer.bias, padding=3, groups=6).transpose(1, 2)
    grad = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, [x, layer.weight, layer.bias], grad)
    found = torch.autograd.grad(layer(x), [x, layer.weight, layer.bias], grad)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_places_tell_how_much_of_a_unit_has_passed():
    owner, place = places(torch.tensor([2, 0, 1]))
    assert owner.tolist() == [0, 0, 2]
    torch.testing.assert_close(place[:, 0], torch.tensor([0.25, 0.75, 0.5]))
    torch.testing.assert_close(place[:, 0] + place[:, 2], torch.ones(3))
    assert place[0, 1] == pytest.approx(np.log(2))


def test_a_phone_lasts_a_frame_at_least_and_a_pause_may_vanish():
    short = torch.full((2,), -3.0)
    assert round_durations(short, torch.tensor([units.PHONES["T"], units.COMMA])).tolist() == [1, 0]


def test_padding_does_not_reach_into_a_sequence(student):
    ids, flags = torch.randint(6, 75, (1, 9)), torch.randint(0, 2, (1, 9))
    speaker, mask = vector()[None], torch.ones(1, 9, 1)
    pad = torch.nn.functional.pad
    alone, _ = student.encoder(ids, flags, speaker, mask)
    padded, _ = student.encoder(pad(ids, (0, 5)), pad(flags, (0, 5)), speaker, pad(mask, (0, 0, 0, 5)))
    torch.testing.assert_close(padded[:, :9], alone)


def test_the_towers_compute_what_the_student_does(student):
    random = np.random.default_rng(0)
    ids, flags, speaker = random.integers(0, 75, (1, 20)), random.integers(0, 2, (1, 20)), vector()[None]
    hidden, heads = student.encoder(torch.from_numpy(ids), torch.from_numpy(flags), speaker, torch.ones(1, 20, 1))
    encoder = encoder_graph(student).graph
    found = evaluate(encoder, {"units": ids, "flags": flags, "speaker": speaker.numpy()})
    np.testing.assert_allclose(found["hidden"], hidden, atol=1e-4)
    heads = student.encoder.full_heads(heads, speaker)
    for i, name in enumerate(VARIANCES):
        np.testing.assert_allclose(found[name], heads[..., i], atol=1e-4)
    place, prosody = (random.standard_normal((1, 20, 3)).astype(np.float32) for _ in range(2))
    made = student.decoder(hidden, torch.from_numpy(place), torch.from_numpy(prosody), speaker, torch.ones(1, 20, 1))
    inputs = {"hidden": hidden.numpy(), "place": place, "prosody": prosody, "speaker": speaker.numpy()}
    np.testing.assert_allclose(evaluate(decoder_graph(student).graph, inputs)["mel"], made, atol=1e-3)


def test_a_model_that_grew_says_what_it_said_before(student):
    larger = Acoustic(replace(SMALL, encoder_inner=64, decoder_inner=80, decoder_blocks=4, film=20)).eval()
    larger.grow_from(student.state_dict())
    ids = torch.tensor([0, 8, 30, 2, 41, 7])
    durations = torch.tensor([2, 5, 4, 0, 6, 3])
    was, _ = synthesize_mel(student, ids, ids % 2, vector(), durations)
    now, _ = synthesize_mel(larger, ids, ids % 2, vector(), durations)
    torch.testing.assert_close(now, was, atol=1e-5, rtol=1e-5)
    # The new blocks can learn: their last layer has a gradient.
    larger.decoder.stack.blocks[3].narrow.weight.requires_grad_(True)
    hidden, place, prosody = torch.randn(1, 9, 192), torch.rand(1, 9, 3), torch.randn(1, 9, 3)
    larger.decoder(hidden, place, prosody, vector()[None], torch.ones(1, 9, 1)).square().mean().backward()
    assert larger.decoder.stack.blocks[3].narrow.weight.grad.abs().max() > 0


def test_a_model_does_not_grow_from_a_wider_one(student):
    narrower = Acoustic(replace(SMALL, decoder_inner=40))
    with pytest.raises(ValueError, match=r"widen\.weight: expected \(40, 32\), got \(48, 32\)"):
        narrower.grow_from(student.state_dict())
    wider = Acoustic(replace(SMALL, decoder=48))  # its norms would run over other channels
    with pytest.raises(ValueError, match="expected"):
        wider.grow_from(student.state_dict())


def test_speech_follows_given_durations(student):
    ids = torch.tensor([0, 6, 40, 2, 0])
    durations = torch.tensor([3, 4, 5, 0, 2])
    mel, used = synthesize_mel(student, ids, torch.zeros_like(ids), vector(), durations)
    assert mel.shape == (14, 80)
    assert used.tolist() == durations.tolist()


def test_speaker_vectors_are_of_unit_length_and_keep_voices_apart():
    random = np.random.default_rng(0)
    voices = np.abs(random.standard_normal((40, 256))).astype(np.float32)
    mean, axes = speakers.fit_projection(voices)
    vectors = speakers.project(voices, mean, axes)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    again = speakers.project(voices + 0.05 * random.standard_normal(voices.shape), mean, axes)
    assert ((again @ vectors.T).argmax(1) == np.arange(40)).all()


def test_a_speaker_vector_tells_the_spectrum_and_the_pitch_whatever_the_loudness():
    random = np.random.default_rng(0)
    voices = np.abs(random.standard_normal((80, 256)))
    space = voice_space.fit(voices, random.standard_normal((80, 160)))
    mel = random.standard_normal((200, 80)) + np.linspace(0, 2, 80)
    stats = voice_space.spectrum_statistics(mel)
    np.testing.assert_allclose(voice_space.spectrum_statistics(mel - 3), stats, atol=1e-5)
    high, low = (voice_space.unit(space.parts(voices[0], stats, log_f0, 0.2)) for log_f0 in (5.4, 4.7))
    assert high.shape == (voice_space.SIZE,)
    assert high[voice_space.PITCH_AT] > 0.2 > -0.2 > low[voice_space.PITCH_AT]
    mixed = torch.from_numpy(voice_space.unit(0.7 * high + 0.3 * low))
    middle = voice_space.parts_of(mixed)[voice_space.PITCH_AT] * PITCH_SCALE + PITCH_CENTRE
    assert 4.7 < middle < 5.4
    found = voice_pitch(torch.from_numpy(np.stack([high, low])))[:, 0] + PITCH_CENTRE
    np.testing.assert_allclose(found, [5.4, 4.7], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(high), 1.0, rtol=1e-6)


def test_octave_errors_do_not_count_as_pitch():
    log_f0 = np.where(np.arange(100) % 10 == 0, np.log(100.0), np.log(200.0))
    assert voice_space.pitch_statistics(log_f0) == pytest.approx((np.log(200.0), 0.0), abs=1e-6)
    assert voice_space.pitch_statistics(np.zeros(9))[0] == voice_space.CENTRE_LOG_F0


@pytest.mark.parametrize("ratio", [0.91, 1.19])
def test_a_faster_recording_keeps_its_units_in_proportion(ratio):
    at = np.r_[10:60, 100:150]
    frames = np.array([20, 45, 0, 35])
    kept, durations = shifted.moved(at, frames, ratio)
    assert durations.sum() == len(kept)
    assert durations[2] == 0
    np.testing.assert_allclose(durations, frames / ratio, atol=1.1)
    assert (np.diff(kept) >= 1).all()
    assert (np.diff(kept) > 1).sum() == 1


def test_what_a_slower_recording_lacks_in_height_is_known():
    assert shifted.bands_below(8000.0) == 80
    assert 74 <= shifted.bands_below(0.88 * 7900) < 80
