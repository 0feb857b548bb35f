"""Networks that come back from a `.puni` compute what they did before, but for the rounding of their weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
for package in ("scipy", "soundfile", "tqdm", "matplotlib", "onnxruntime"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import blend, cloning_towers, export_vocoder, restore, speaker_graph, train_pitch, vocoder  # noqa: E402
from distill.acoustic import Acoustic, Shape  # noqa: E402
from distill.acoustic_graph import decoder_graph, encoder_graph  # noqa: E402
from distill.activity import ActivityTower  # noqa: E402
from distill.speaker_tower import SpeakerTower, statistics  # noqa: E402
from distill.voice_space import SIZE, SPECTRUM, TEACHER, VoiceSpace  # noqa: E402
from pocketuni_tools.fuse import fuse  # noqa: E402
from pocketuni_tools.source import Tower, separate_names  # noqa: E402
from pocketuni_tools.writer import write_model  # noqa: E402

SHAPE = Shape(encoder=192, encoder_inner=48, encoder_blocks=2, decoder=32, decoder_inner=48, decoder_blocks=2, film=8)
MEAN, DEVIATION = np.linspace(-6, -4, 80, dtype=np.float32), np.linspace(0.5, 2, 80, dtype=np.float32)


def shaken(model, seed):
    """With no weights as they are at first: two equal tensors would be stored as one."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def networks():
    acoustic = Acoustic(SHAPE)
    acoustic.decoder.mean.copy_(torch.from_numpy(MEAN))
    acoustic.decoder.deviation.copy_(torch.from_numpy(DEVIATION))
    # As in the voice of the package: the reader is narrower, and the vocoder has blocks whose names only it has.
    pitch = train_pitch.PitchReader(vocoder.Config(channels=16, hidden=24, blocks=2))
    spectrum = vocoder.Vocoder(vocoder.Config(channels=24, hidden=32, blocks=3))
    return shaken(acoustic, 0), shaken(pitch, 1), shaken(spectrum, 2)


@pytest.fixture(scope="module")
def file(networks, tmp_path_factory):
    acoustic, pitch, spectrum = networks
    graphs = [export_vocoder.pitch_graph(pitch), export_vocoder.vocoder_graph(spectrum)]
    for graph in graphs:
        fuse(graph)
    separate_names([Tower(graph) for graph in graphs])
    graphs += [encoder_graph(acoustic).graph, decoder_graph(acoustic).graph]
    path = tmp_path_factory.mktemp("restore") / "voice.puni"
    precisions = {name: "f32" for graph in graphs for name in graph.constants}
    write_model(path, graphs, precisions=precisions, meta={"name": "test", "licence": "none"})
    return path


def test_the_acoustic_student_comes_back(networks, file):
    acoustic, found = networks[0], restore.acoustic_of(file, MEAN, DEVIATION).eval()
    assert found.shape == acoustic.shape
    ids, flags, mask = torch.randint(0, 75, (1, 9)), torch.randint(0, 2, (1, 9)), torch.ones(1, 9, 1)
    speaker = torch.nn.functional.normalize(torch.randn(1, 192), dim=1)
    for a, b in zip(acoustic.encoder(ids, flags, speaker, mask), found.encoder(ids, flags, speaker, mask), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
    inputs = torch.randn(1, 9, 192), torch.randn(1, 9, 3), torch.randn(1, 9, 3), speaker, mask
    torch.testing.assert_close(found.decoder(*inputs), acoustic.decoder(*inputs), rtol=1e-4, atol=1e-3)


def test_a_blend_lies_between(networks, file):
    first, second = networks[0], shaken(restore.acoustic_of(file, MEAN, DEVIATION), 8)
    made = blend.blend(first, second, 0.25)
    for name, mine in made.state_dict().items():
        a, b = first.state_dict()[name], second.state_dict()[name]
        torch.testing.assert_close(mine, 0.75 * a + 0.25 * b)
    with pytest.raises(ValueError, match="one shape"):
        blend.blend(first, Acoustic(Shape()), 0.5)


def test_other_bands_change_nothing_but_what_is_normalized(networks, file):
    acoustic, found = networks[0], restore.acoustic_of(file, MEAN + 1, 2 * DEVIATION).eval()
    speaker = torch.nn.functional.normalize(torch.randn(1, 192), dim=1)
    inputs = torch.randn(1, 9, 192), torch.randn(1, 9, 3), torch.randn(1, 9, 3), speaker, torch.ones(1, 9, 1)
    torch.testing.assert_close(found.decoder(*inputs), acoustic.decoder(*inputs), rtol=1e-4, atol=1e-3)


def test_the_vocoder_and_the_pitch_reader_come_back(networks, file):
    _, pitch, spectrum = networks
    mel, excitation = torch.randn(1, 12, 80) - 5, torch.randn(1, 12, 2052)
    torch.testing.assert_close(restore.pitch_of(file)(mel), pitch(mel), rtol=1e-4, atol=1e-4)
    found = restore.vocoder_of(file).eval()
    torch.testing.assert_close(found(mel, excitation), spectrum(mel, excitation), rtol=1e-3, atol=1e-3)


def test_another_file_is_refused(networks, tmp_path):
    graph = encoder_graph(networks[0]).graph
    write_model(path := tmp_path / "other.puni", [graph], precisions={}, meta={"name": "test", "licence": "none"})
    with pytest.raises(ValueError, match="expected a tensor 'voice.decoder"):
        restore.acoustic_of(path, MEAN, DEVIATION)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    """The towers that make voices of recordings, with the file that they were written to."""
    random = np.random.default_rng(3)
    axes = random.standard_normal((SPECTRUM, 160)).astype(np.float32)
    axes[:, :80] -= axes[:, :80].mean(1, keepdims=True)  # as of spectra without their loudness
    space = VoiceSpace(np.zeros(256), np.zeros((192, 256)), random.standard_normal(160).astype(np.float32), axes)
    model, gate = shaken(SpeakerTower(), 4), shaken(ActivityTower(), 5)
    model.head.mean.normal_()
    model.head.deviation.uniform_(0.5, 2.0)
    maker = cloning_towers.VoiceMaker(model, space, (random.standard_normal((2, 480)), np.ones(2)))
    built = [cloning_towers.speaker_graph(maker), cloning_towers.head_graph(maker), speaker_graph.activity_graph(gate)]
    path, graphs = tmp_path_factory.mktemp("recorder") / "voice.puni", [b.graph for b in built]
    precisions = {name: "f32" for graph in graphs for name in graph.constants}
    blobs = {"voice_space": bytes(range(16))}
    write_model(path, graphs, precisions=precisions, meta={"name": "test", "licence": "none"}, blobs=blobs)
    return maker, gate, path


def test_the_towers_for_recordings_come_back(recorder):
    maker, gate, path = recorder
    mel, mask = torch.randn(1, 40, 80) - 5, torch.ones(1, 40)
    torch.testing.assert_close(restore.activity_of(path).eval()(mel), gate(mel), rtol=1e-4, atol=1e-4)
    found, stats = restore.speaker_of(path).eval(), statistics(maker.model.features(mel), mask)
    torch.testing.assert_close(found.features(mel), maker.model.features(mel), rtol=1e-4, atol=1e-4)
    cosine = torch.nn.functional.cosine_similarity
    told, known = found.speaker(stats)[:, :TEACHER], maker.model.speaker(stats)[:, :TEACHER]
    assert float(cosine(told, known)) > 1 - 1e-6


def test_the_voice_space_comes_back_with_its_name(recorder):
    space, path = recorder[0].space, recorder[2]
    other = VoiceSpace(space.mean, space.axes, space.spectrum_mean + 0.1, -space.spectrum_axes)
    found, heard = restore.space_of(path, other), np.random.default_rng(6).standard_normal(160)
    heard[:80] -= heard[:80].mean()
    told, known = (s.spectrum_axes @ (heard - s.spectrum_mean) for s in (found, space))
    np.testing.assert_allclose(told, known, rtol=1e-3, atol=1e-3)
    assert found.digest() == bytes(range(16)) != other.digest() and len(known) + TEACHER + 3 == SIZE
