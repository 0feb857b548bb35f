"""Files that are cut, damaged or hostile: an error that names the file and the fault, and never anything else.

tests/format/test_format_faults.cc goes through the format rule by rule; here it is the package, on a golden file.
"""

import json
import os
import struct

import numpy as np
import pytest
from golden import make
from pocketuni_tools.ir import Graph, Node, Value
from pocketuni_tools.writer import pack_constant, write_model
from puni_bytes import reseal, sections, with_meta, with_number

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

DATA = (make.FOLDER / "text.puni").read_bytes()
PARTS = sections(DATA)
HUGE = 2**63


@pytest.fixture
def refused(tmp_path):
    """Asserts that bytes are refused as a broken file, naming it and the fault."""
    path = tmp_path / "bad.puni"

    def check(data, fault):
        path.write_bytes(data)
        with pytest.raises(pocketuni.ModelFileError) as error:
            pocketuni.Model(path)
        assert str(error.value).startswith(f"{path}: "), error.value
        assert fault in str(error.value)

    return check


def test_model_file_errors_are_value_errors():
    assert issubclass(pocketuni.ModelFileError, ValueError)


def test_truncation_at_every_boundary(refused):
    boundaries = {0, 1, 8, 63, 64, *(64 + 64 * i for i in range(len(PARTS) + 1)), len(DATA) - 64, len(DATA) - 1}
    for part in PARTS.values():
        boundaries |= {part.offset - 1, part.offset, part.offset + 1, part.end - 1, part.end}
    for size in sorted(boundaries):
        cut = DATA[:size]
        refused(cut, "the file is empty" if size == 0 else "bytes, the ")
        if size >= 64:  # a cut that the header knows of
            refused(with_number(cut, 24, "<Q", size), "")


def test_bytes_appended(refused):
    refused(DATA + b"\0", f"the header says {len(DATA)} bytes, the file has {len(DATA) + 1}: something was appended")


def test_every_flipped_byte_of_header_and_table(refused):
    for at in range(64 + 64 * len(PARTS)):
        flipped = bytearray(DATA)
        flipped[at] ^= 0xFF
        refused(bytes(flipped), "")


def test_flipped_bytes_of_every_section(refused):
    for kind in ("META", "TENS", "TOWR", "BLOB"):
        part = PARTS[kind]
        for at in range(part.offset, part.end, 7):
            flipped = bytearray(DATA)
            flipped[at] ^= 0x10
            refused(bytes(flipped), f"section {kind}: the hash does not match, the file is damaged")


def test_resealed_flips_of_the_table_open_or_are_refused(tmp_path):
    path, refusals = tmp_path / "bad.puni", 0
    for at in range(8, 64 + 64 * len(PARTS)):
        flipped = bytearray(DATA)
        flipped[at] ^= 0x41
        path.write_bytes(reseal(flipped))
        try:
            pocketuni.Model(path)
        except pocketuni.ModelFileError as error:
            refusals += 1
            assert str(path) in str(error)
    assert refusals > 200


def test_versions_and_features(refused):
    refused(with_number(DATA, 8, "<H", 2), "format version 2 is not known to this reader (it reads version 1)")
    refused(with_number(DATA, 16, "<Q", 1 << 40), "needs features that this reader does not know")
    refused(with_number(DATA, 12, "<I", 0), "number of sections is 0")
    refused(with_number(DATA, 12, "<I", 2**32 - 1), "number of sections is 4294967295")


def test_a_newer_minor_version_is_read(tmp_path):
    path = tmp_path / "newer.puni"
    path.write_bytes(with_number(DATA, 10, "<H", 7))
    assert list(pocketuni.Model(path).towers) == ["text"]


@pytest.mark.parametrize("kind", PARTS)
def test_sections_out_of_place(refused, kind):
    entry, offset = PARTS[kind].entry, PARTS[kind].offset
    refused(with_number(DATA, entry + 8, "<Q", HUGE), f"section {kind} lies outside the file")
    refused(with_number(DATA, entry + 16, "<Q", HUGE), f"section {kind} lies outside the file")
    refused(with_number(DATA, entry + 16, "<Q", 2**64 - offset), f"section {kind} lies outside the file")
    refused(with_number(DATA, entry + 8, "<Q", offset + 4), f"section {kind} is not aligned to 64 bytes")
    refused(with_number(DATA, entry + 8, "<Q", 64), f"section {kind} overlaps what lies before it")
    refused(with_number(DATA, entry + 4, "<I", 2), f"section {kind}: unknown flags 2")
    if kind != "META":
        before = list(PARTS)[list(PARTS).index(kind) - 1]
        refused(with_number(DATA, entry + 8, "<Q", PARTS[before].offset), f"section {kind} overlaps")


def tensor_fields(name):
    """Offsets of a tensor's fields in DATA's table: encoding, dims, offset, size."""
    at = DATA.index(name.encode(), PARTS["TENS"].offset) + len(name)
    rank = DATA[at + 1]
    return {"encoding": at, "dims": at + 4, "offset": at + 4 + 4 * rank, "size": at + 12 + 4 * rank}


def test_tensors_out_of_place(refused):
    fields = tensor_fields("qkv.weight")
    refused(with_number(DATA, fields["offset"], "<Q", HUGE), "tensor 'qkv.weight': lies outside DATA")
    refused(with_number(DATA, fields["offset"], "<Q", 0), "tensor 'qkv.weight': overlaps what lies before it")
    refused(with_number(DATA, fields["offset"], "<Q", 2048 + 4), "tensor 'qkv.weight'")
    refused(with_number(DATA, fields["size"], "<Q", HUGE), "tensor 'qkv.weight': size is 9223372036854775808")
    refused(with_number(DATA, fields["dims"], "<I", 2**31 - 1), "tensor 'qkv.weight': size is ")
    refused(with_number(DATA, fields["dims"], "<I", 2**32 - 1), "tensor 'qkv.weight': dimension 4294967295 is not in")
    refused(with_number(DATA, fields["dims"], "<I", 0), "takes dimensions of at least 1")
    refused(with_number(DATA, fields["encoding"], "<B", 99), "tensor 'qkv.weight': unknown encoding 99")
    refused(with_number(DATA, PARTS["TENS"].offset, "<I", 2**32 - 1), "4294967295 tensors do not fit")


def test_blobs_out_of_place(refused):
    at = DATA.index(b"tokenizer.json", PARTS["BLOB"].offset) + len("tokenizer.json")
    refused(with_number(DATA, at, "<Q", HUGE), "blob 'tokenizer.json': lies outside the section")
    refused(with_number(DATA, at, "<Q", 65), "blob 'tokenizer.json': is not aligned to 64 bytes")
    refused(with_number(DATA, at, "<Q", 0), "blob 'tokenizer.json': overlaps what lies before it")
    refused(with_number(DATA, at + 8, "<Q", HUGE), "blob 'tokenizer.json': lies outside the section")
    refused(with_number(DATA, PARTS["BLOB"].offset + 4, "<I", 2**31), "ends too early: 2147483648 bytes expected")


def node_fields(op, name):
    """Offset of the operands of a node."""
    text = struct.pack("<I", len(op)) + op.encode() + struct.pack("<I", len(name)) + name.encode()
    return DATA.index(text, PARTS["TOWR"].offset) + len(text) + 4


def test_indices_out_of_range(refused):
    linear = node_fields("linear", "linear:qkv")
    where = "tower 'text', node 1 'linear:qkv' ('linear')"
    refused(with_number(DATA, linear, "<I", 99), f"{where}: an operand names value 99, the tower has 9")
    refused(with_number(DATA, linear + 4, "<I", 2**31 + 77), f"{where}: an operand names tensor 77, the file has 5")
    refused(with_number(DATA, linear - 4, "<I", 2**32 - 1), f"{where}: 4294967295 operands do not fit")
    refused(with_number(DATA, linear + 16, "<I", 88), f"{where}: results names value 88, the tower has 9")


def test_order_of_nodes(refused):
    linear, attention = node_fields("linear", "linear:qkv"), node_fields("attention", "attention:attended")
    attended = struct.unpack_from("<I", DATA, attention + 12)[0]
    refused(with_number(DATA, linear, "<I", attended), "reads value 'attended' before it is written")  # a cycle
    refused(with_number(DATA, attention + 12, "<I", 2), "writes value 'embedded', which is written already")


def broken_graph(monkeypatch, tmp_path, build):
    """The bytes of a model whose graph nobody checked."""
    graph = Graph("broken")
    graph.add_input("x", "float32", ("batch", 4))
    build(graph)
    monkeypatch.setattr(Graph, "check", lambda self: None)
    write_model(tmp_path / "made.puni", [graph])
    return (tmp_path / "made.puni").read_bytes()


def relu_with(dtype, shape, **attributes):
    def build(graph):
        graph.values["y"] = Value("y", dtype, shape)
        graph.nodes.append(Node("relu", "node", ["x"], ["y"], attributes))
        graph.outputs = ["y"]

    return build


@pytest.mark.parametrize(
    "build, fault",
    [
        (
            relu_with("float32", ("batch", 5)),
            "its result 'y' comes out as float32 [2, 4], which is not what the file says: expected float32 [2, 5]",
        ),
        (relu_with("float32", ("batch",)), "which is not what the file says"),
        (relu_with("int32", ("batch", 4)), "which is not what the file says"),
        (relu_with("float32", ("batch", 4), slope=0.5), "relu (node 'node'): attribute 'slope' is not known"),
    ],
    ids=["size", "rank", "dtype", "attribute"],
)
def test_graphs_that_contradict_themselves(refused, monkeypatch, tmp_path, build, fault):
    refused(
        broken_graph(monkeypatch, tmp_path, build), f"tower 'broken': {'node' if 'not what' in fault else 'operator'}"
    )
    refused(broken_graph(monkeypatch, tmp_path, build), fault)


def test_sizes_that_a_graph_does_not_take(monkeypatch, tmp_path):
    path = tmp_path / "square.puni"
    path.write_bytes(broken_graph(monkeypatch, tmp_path, relu_with("float32", (4, "batch"))))
    tower = pocketuni.Model(path).towers["broken"]
    assert tower.run(x=np.zeros((4, 4), np.float32))["y"].shape == (4, 4)
    with pytest.raises(ValueError, match=r"does not take batch = 3: .* float32 \[3, 4\], .* expected float32 \[4, 3\]"):
        tower.run(x=np.zeros((3, 4), np.float32))


def test_operators_that_are_not_known(refused, monkeypatch, tmp_path):
    def build(graph):
        graph.values["y"] = Value("y", "float32", ("batch", 4))
        graph.nodes.append(Node("teleport", "node", ["x"], ["y"]))
        graph.outputs = ["y"]

    data = broken_graph(monkeypatch, tmp_path, build)
    refused(data, "operator teleport (node 'node'): this version does not know the operator; update pocketuni")


def test_weights_that_do_not_fit(refused, monkeypatch, tmp_path):
    def build(graph):
        weight = graph.add_constant("weight", make.numbers(1, 3, 5))
        graph.values["y"] = Value("y", "float32", ("batch", 3))
        graph.nodes.append(Node("linear", "node", ["x", weight], ["y"]))
        graph.outputs = ["y"]

    refused(broken_graph(monkeypatch, tmp_path, build), "tower 'broken': node 'node' (linear): ")


@pytest.mark.parametrize(
    "precision, channels, kernel, fault",
    [
        ("int8", 16, [5, 5], "the weight has 24 taps, the kernel 25"),
        ("int8", 17, [4, 6], "expected [batch, height, width, 17]"),
        ("int4", 16, [4, 6], "the weight is a weight in kernel order, expected plain values"),
    ],
)
def test_depthwise_weights_that_do_not_fit(refused, monkeypatch, tmp_path, precision, channels, kernel, fault):
    graph = Graph("broken")
    graph.add_input("x", "float32", ("batch", 8, 8, 16))
    array = make.numbers(1, channels, 24)
    weight = graph.add_constant("weight", array)
    graph.values["y"] = Value("y", "float32", ("batch", None, None, None))
    window = {"kernel": kernel, "stride": [1, 1], "dilation": [1, 1], "pads": [2] * 4}
    graph.nodes.append(Node("depthwise_conv2d", "node", ["x", weight], ["y"], window))
    graph.outputs = ["y"]
    monkeypatch.setattr(Graph, "check", lambda self: None)
    write_model(tmp_path / "made.puni", [graph], packed={weight: pack_constant(array, "gemm", precision)})
    refused((tmp_path / "made.puni").read_bytes(), fault)


def test_damaged_weights_open_and_are_found_by_verify(tmp_path):
    path = tmp_path / "damaged.puni"
    damaged = bytearray(DATA)
    damaged[PARTS["DATA"].offset + 5] ^= 1
    path.write_bytes(damaged)
    faults = pocketuni.Model(path).verify()
    assert [fault.split(": ")[1] for fault in faults] == ["section DATA", "tensor 'embeddings'"]
    assert all(fault.startswith(f"{path}: ") for fault in faults)


def test_missing_and_unreadable_files(tmp_path):
    missing = tmp_path / "missing.puni"
    with pytest.raises(FileNotFoundError, match="missing.puni") as error:
        pocketuni.Model(missing)
    assert error.value.filename == str(missing)
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        pocketuni.Model(tmp_path)
    with pytest.raises(NotADirectoryError, match="name.puni"):
        pocketuni.Model(make.FOLDER / "text.puni" / "name.puni")
    os.mkfifo(tmp_path / "pipe.puni")
    with pytest.raises(OSError, match="pipe.puni: not a regular file"):
        pocketuni.Model(tmp_path / "pipe.puni")
    if os.geteuid() != 0:
        locked = tmp_path / "locked.puni"
        locked.write_bytes(DATA)
        locked.chmod(0)
        with pytest.raises(PermissionError, match="locked.puni"):
            pocketuni.Model(locked)
    with pytest.raises(ValueError, match="NUL"):
        pocketuni.Model("a\0b.puni")
    other = tmp_path / "notes.txt"
    other.write_text("not a model")
    with pytest.raises(pocketuni.ModelFileError, match=r"notes.txt: not a .puni model file"):
        pocketuni.Model(other)


def test_meta_that_is_not_json(refused):
    refused(with_meta(DATA, b"{name: words}"), "section META is not valid JSON")
    refused(with_meta(DATA, b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "section META is not valid JSON")
    refused(with_meta(DATA, b"[1]"), "section META: not a JSON object")


EMBED = make.text().meta["towers"]["text"]["embed"]


@pytest.mark.parametrize(
    "changes, fault",
    [
        ({"tokenizer": "vocab.txt"}, "the model has no blob 'vocab.txt'"),
        ({"tokenizer": "LICENCE"}, "the tokenizer 'LICENCE' cannot be read"),
        ({"tokenizer": 3}, "'tokenizer' is 3, expected a text"),
        ({"kind": "words"}, "the kind 'words' is not one of tokenizers, sentencepiece"),
        ({"max_length": 0}, "'max_length' is 0, expected a number of tokens"),
        ({"max_length": "12"}, "'max_length' is '12'"),
        ({"output": "vector"}, "the tower has no output 'vector'; it has ['embedding']"),
        (
            {"ids": "ids"},
            "it gives the inputs ['attention_mask', 'ids'], the tower takes ['attention_mask', 'input_ids']",
        ),
        ({"pad": -1}, "'pad' is -1, expected the id of a token or null"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_embed_entries_that_do_not_fit(tmp_path, changes, fault):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    path = tmp_path / "meta.puni"
    path.write_bytes(with_meta(DATA, json.dumps({"towers": {"text": {"embed": {**EMBED, **changes}}}}).encode()))
    model = pocketuni.Model(path)
    with pytest.raises(pocketuni.ModelFileError) as error:
        model.embed("a model")
    assert str(error.value).startswith(f"{path}: section META, towers.text.embed: ")
    assert fault in str(error.value)
