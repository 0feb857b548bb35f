"""Threads, processes and memory: the same bits however the work is split, and nothing that grows."""

import gc
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from golden import make
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

TEXT = make.FOLDER / "text.puni"


def feed(batch, length, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "input_ids": generator.integers(0, len(make.WORDS), (batch, length)),
        "attention_mask": (np.arange(length) < generator.integers(1, length + 1, (batch, 1))).astype(np.int64),
    }


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model whose run takes a while: three products of 512 x 512 and an attention, int8 and float."""
    graph, width = Graph("wide"), 512
    shape = ("batch", "time", width)
    x = graph.add_input("x", "float32", shape)
    precisions = {}
    for layer in range(3):
        weight = graph.add_constant(f"weight{layer}", make.numbers(layer, width, width) / 16)
        precisions[weight] = ("int8", "f32", "int4")[layer]
        (x,) = graph.add_node("linear", [x, weight], [Value(f"h{layer}", "float32", shape)], activation="gelu")
    graph.outputs = graph.add_node("attention", [x, x, x], [Value("y", "float32", shape)], heads=8)
    path = tmp_path_factory.mktemp("wide") / "wide.puni"
    write_model(path, [graph], precisions=precisions)
    return path


@pytest.mark.parametrize("batch, length", [(1, 1), (1, 40), (3, 17), (16, 5)])
def test_thread_counts_give_the_same_bits(batch, length):
    inputs = feed(batch, length)
    runs = [pocketuni.Model(TEXT, threads=n).towers["text"].run(**inputs)["embedding"] for n in (1, 2, 5)]
    assert runs[0].tobytes() == runs[1].tobytes() == runs[2].tobytes()


def test_thread_counts_give_the_same_bits_in_large_products(wide):
    for batch, length in ((1, 3), (2, 65)):
        x = make.numbers(9, batch, length, 512)
        runs = [pocketuni.Model(wide, threads=n).towers["wide"].run(x=x)["y"].tobytes() for n in (1, 2, 5)]
        assert runs[0] == runs[1] == runs[2]


def test_python_goes_on_during_a_run(wide):
    """The GIL is released: while one thread is inside a run, this one counts."""
    tower = pocketuni.Model(wide, threads=1).towers["wide"]
    x = make.numbers(9, 8, 256, 512)
    tower.run(x=x)  # plans and buffers are made
    span = []

    def work():
        span.append(time.perf_counter())
        for _ in range(3):
            tower.run(x=x)
        span.append(time.perf_counter())

    ticks = []
    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
    thread.join()
    inside = sum(span[0] < tick < span[1] for tick in ticks)
    assert span[1] - span[0] > 0.02, "the run is too short to tell"
    assert inside >= 5, f"{inside} ticks in {span[1] - span[0]:.3f} s"


def test_threads_may_share_a_tower_and_a_model():
    model = pocketuni.Model(TEXT, threads=2)
    jobs = [feed(1 + i % 3, 2 + i % 5, seed=i) for i in range(60)]
    alone = pocketuni.Model(TEXT, threads=1).towers["text"]
    want = [alone.run(**job)["embedding"].tobytes() for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda job: model.towers["text"].run(**job)["embedding"].tobytes(), jobs))
    assert got == want


def test_the_first_runs_of_many_threads_make_one_session():
    tower = pocketuni.Model(TEXT, threads=1).towers["text"]
    barrier = threading.Barrier(8)

    def first(_):
        barrier.wait()
        tower.run(**feed(1, 3))
        return id(tower._session)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first, range(8)))) == 1


def test_sessions_over_one_model_are_independent():
    core = pocketuni._core
    model = core.Model(str(TEXT))
    sessions = [core.Session(model, "text", 1) for _ in range(4)]
    jobs = [feed(2, 3 + i, seed=i) for i in range(4)]
    want = [core.Session(model, "text", 1).run(job)["embedding"].tobytes() for job in jobs]
    del model

    def work(i):
        return [sessions[i].run(jobs[i])["embedding"].tobytes() for _ in range(50)]

    with ThreadPoolExecutor(4) as pool:
        for i, results in enumerate(pool.map(work, range(4))):
            assert set(results) == {want[i]}


def test_models_of_one_file_share_its_pages(tmp_path):
    """What is mapped twice is in memory once: private memory does not grow with the weights."""
    graph = Graph("table")
    ids = graph.add_input("ids", "int64", ("n",))
    table = graph.add_constant("table", make.numbers(1, 40_000, 128))
    graph.outputs = graph.add_node("embedding", [ids, table], [Value("rows", "float32", ("n", 128))])
    write_model(tmp_path / "table.puni", [graph])
    del graph
    rows = np.arange(0, 40_000, 8)
    before = private_bytes()
    models = [pocketuni.Model(tmp_path / "table.puni", threads=1) for _ in range(8)]
    sums = {float(model.towers["table"].run(ids=rows)["rows"].sum()) for model in models}
    assert len(sums) == 1
    weights = 40_000 * 128 * 4
    results = 2 * len(models) * rows.size * 128 * 4  # each session's buffer, and what the allocator keeps
    grown = private_bytes() - before
    assert grown < results + weights / 2, f"{grown} bytes more, one copy of the weights has {weights}"


def private_bytes():
    gc.collect()
    try:
        text = Path("/proc/self/smaps_rollup").read_text()
    except OSError:
        pytest.skip("needs /proc/self/smaps_rollup")
    lines = [line.split() for line in text.splitlines()]
    return sum(int(line[1]) * 1024 for line in lines if line[0] in ("Private_Dirty:", "Private_Clean:"))


def test_memory_stays_flat():
    """300 runs of random shapes, then 300 more: memory has found its size."""
    tower = pocketuni.Model(TEXT, threads=2).towers["text"]
    generator = np.random.default_rng(3)

    def runs():
        for _ in range(300):
            batch, length = generator.integers(1, 24), generator.integers(1, 96)
            tower.run(**feed(int(batch), int(length), seed=int(batch)))

    tower.run(**feed(24, 96))
    runs()
    before = private_bytes()
    runs()
    grown = private_bytes() - before
    assert grown < 2 * 2**20, f"{grown} bytes more"


def test_opening_and_closing_leaves_nothing():
    def cycle():
        for _ in range(30):
            with pocketuni.Model(TEXT, threads=2) as model:
                model.towers["text"].run(**feed(2, 8))

    cycle()
    before, files, threads = private_bytes(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    cycle()
    assert private_bytes() - before < 2**20
    assert len(os.listdir("/proc/self/fd")) == files
    assert len(os.listdir("/proc/self/task")) == threads


def run_and_send(connection, tower, inputs):
    connection.send(tower.run(**inputs)["embedding"].tobytes())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_with_its_parents_model():
    inputs = feed(8, 60)
    tower = pocketuni.Model(TEXT, threads=4).towers["text"]
    want = tower.run(**inputs)["embedding"].tobytes()  # the threads run: the child does not have them
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=run_and_send, args=(there, tower, inputs))
    child.start()
    assert here.poll(30), "the child waits for threads that it does not have"
    assert here.recv() == want
    child.join(30)
    assert child.exitcode == 0
    assert tower.run(**inputs)["embedding"].tobytes() == want
