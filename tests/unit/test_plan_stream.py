"""Planning as a stream: byte for byte what planning in memory gives, and repeated only where something changed."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import captionqa
import pandas as pd
import pytest
from captionqa import external_sort, files, threads
from captionqa.client import journal
from captionqa.config import layout as layout_module
from captionqa.config.layout import Layout
from captionqa.dataset import caption_plan, image_file, plan_state, planning, question_plan, scan
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.places import place, question_place
from captionqa.dataset.question_file import Questions
from captionqa.dataset.question_plan import plan_questions
from captionqa.driver import summary
from captionqa.errors import DiskFullError, InputError
from captionqa.results import qa

NAMES = [
    *(f"sub{number % 3}/image{number}.png" for number in range(60)),
    "deep/er/still/ä 日本.jpg",
    "two\nlines.png",
    'quote".png',
    b"caf\xe9.png".decode("utf-8", "surrogateescape"),
    "\U0001f600.png",
    "\ufffd.png",
]
QUESTION_IMAGES = [[name] for name in NAMES[:20] * 3] + [
    NAMES[:2],
    NAMES[1:4],
    ["nowhere.png"],
    ["a\0b"],
    [NAMES[0] + "/"],
]


#: Questions planned after captions of the same folder, whose scan then shows whether an image changed.
BESIDE = "qa beside captions"

#: The chunks that earlier versions gave the same data, which held everything in memory.
GOLDEN = {
    "captions": ((0, "863ab9582c8c", 16), (1, "b45a67e6a7f8", 19), (2, "fe9dc14e8426", 13), (3, "bdf73dd615bc", 20)),
    "qa": (
        "d70acb21cfc7",
        ((0, "8c8a8b901d48", 22), (1, "e0187eac838a", 6), (2, "fb7535a09587", 16), (3, "fb5de77428f7", 20)),
    ),
}


@pytest.fixture(params=["on disk", "in memory"])
def little_memory(request, monkeypatch):
    """Make every buffer smaller than the data, so that everything goes through files and blocks."""
    if request.param == "on disk":
        monkeypatch.setattr(external_sort.ExternalSort.__init__, "__defaults__", (7,))
        monkeypatch.setattr(external_sort, "BLOCK_RECORDS", 3)
        monkeypatch.setattr(files, "LINES_IN_MEMORY_BYTES", 100)
        monkeypatch.setattr(threads.blocks, "__defaults__", (4,))
        monkeypatch.setattr(scan, "BLOCK_ITEMS", 4)


@pytest.fixture
def data(tmp_path):
    """A folder of files of known sizes and times, and questions on them in a file that is older than YOUNG_S."""
    return Data(tmp_path)


class Data:
    def __init__(self, folder):
        self.path = folder / "data"
        self.questions = folder / "questions.parquet"
        self.output = folder / "output"
        for number, name in enumerate(NAMES):
            self.write(name, b"x" * number, number)
        self.write("no-suffix", b"\x89PNG\r\n\x1a\n", 5)
        self.write("notes", b"nothing to see", 6)
        (self.path / "broken.png").symlink_to("nowhere.png")
        (self.path / "broken").symlink_to("nowhere")
        self.rows = [
            {"qid": f"q{number}é"[number % 2 :], "question": f"What {number}?", "answer": "A", "image": images}
            for number, images in enumerate(QUESTION_IMAGES)
        ]
        self.rows[3]["question"] = None
        self.ask()

    def write(self, name, content, second):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(1, 10**18 + second))

    def ask(self):
        pd.DataFrame(self.rows).to_parquet(self.questions)
        self.age(100)

    def age(self, seconds):
        os.utime(self.questions, (1, time.time() - seconds))

    def plan(self, task, n=8, output=None):
        layout = Layout(str(output or self.output), "tiny")
        if task == "captions":
            return plan_captions(self.path, n, layout)
        scan = plan_captions(self.path, n, layout).scan if task == BESIDE else ""
        return plan_questions(self.questions, self.path, n, layout, scan)

    def lists(self, task, plan, output=None):
        """{file name: content} of a plan's item lists and question rows."""
        task = "qa" if task == BESIDE else task
        layout = Layout(str(output or self.output), "tiny")
        paths = plan.item_lists(layout, task) + ([layout.question_rows(plan.rows)] if plan.rows else [])
        return {Path(path).name: Path(path).read_text() for path in paths}


def compact(value):
    return json.dumps(value, separators=(",", ":")) + "\n"


def stamp(path):
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def digest(lines):
    return hashlib.blake2b("".join(f"{line}\n" for line in lines).encode(), digest_size=6).hexdigest()


def lists_in_memory(data, task, n):
    """{file name: content} that planning has to write, computed in memory."""
    written = {}
    if task == "captions":
        found = [str(path.relative_to(data.path)) for path in data.path.rglob("*") if not path.is_dir()]
        names = set(found) - {"notes", "broken"}
        items = [(place(name), name, {"id": name, "stamps": [stamp(data.path / name)]}) for name in names]
    else:
        rows = sorted(Questions(data.questions), key=lambda row: row["id"])
        lines = list(map(compact, rows))
        written[f"questions.{digest(lines)}.jsonl"] = "".join(lines)
        items = [
            (
                question_place(row["images"], row["id"], by_image=True),
                row["id"],
                {key: row[key] for key in ("id", "question", "images")}
                | {"stamps": [stamp(data.path / name) for name in row["images"]]}
                | ({"by_image": True} if len(row["images"]) == 1 else {}),
            )
            for row in rows
            if "invalid" not in row
        ]
    members = defaultdict(list)
    for where, _, item in sorted(items, key=lambda item: item[:2]):
        members[where * n >> 32].append(compact(item))
    for index, lines in members.items():
        written[f"{index:0{len(str(n - 1))}d}-of-{n}.{digest(lines)}.jsonl"] = "".join(lines)
    return written


@pytest.mark.parametrize("task", ["captions", "qa"])
@pytest.mark.parametrize("n", [1, 8, 1000])
def test_a_plan_is_to_the_byte_what_memory_would_make_of_it(data, task, n, little_memory):
    plan = data.plan(task, n)
    wanted = lists_in_memory(data, task, n)
    assert data.lists(task, plan) == wanted
    assert plan.items == sum(count for _, _, count in plan.chunks) == (len(NAMES) + 2 if task == "captions" else 64)


def test_the_names_of_chunks_are_those_of_earlier_versions(data):
    """Other digests would mean that an update repeats all requests."""
    journal = data.output / "work" / "tiny" / "qa" / "journal" / "0001.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("an answer of an earlier version\n")
    plan = data.plan("captions", 4)
    assert plan.chunks == GOLDEN["captions"]
    plan = data.plan("qa", 4)
    assert (plan.rows, plan.chunks) == GOLDEN["qa"]


def forbid(monkeypatch):
    def write(*_, **__):
        raise AssertionError("planned anew")

    monkeypatch.setattr(caption_plan, "write_plan", write)
    monkeypatch.setattr(question_plan, "write_plan", write)


@pytest.mark.parametrize("task", ["captions", "qa"])
def test_what_is_unchanged_is_not_planned_anew(data, task, monkeypatch):
    plan = data.plan(task)
    forbid(monkeypatch)
    assert data.plan(task) == plan


def edit(data):
    data.write(NAMES[5], b"y" * 5, 1000)


def edit_at_the_same_time(data):
    data.write(NAMES[5], b"longer than before", 5)


def remove(data):
    (data.path / NAMES[5]).unlink()


def add(data):
    data.write("nowhere.png", b"", 0)  # named by a question, and the target of a link


def edit_behind_a_link(data):
    (data.path / NAMES[5]).unlink()
    (data.path / NAMES[5]).symlink_to(data.path.parent / "questions.parquet")


def swap_two_files(data):
    first, second = data.path / NAMES[5], data.path / NAMES[8]
    first.rename(data.path / "held")
    second.rename(first)
    (data.path / "held").rename(second)


def turn_notes_into_an_image(data):
    data.write("notes", b"\xff\xd8\xff", 7)


def rewrite_the_questions(data):
    data.rows[0]["question"] = "Which 0?"
    data.ask()


def lose_a_list(data):
    next(path for path in data.output.rglob("*-of-8.*.jsonl")).unlink()


def lose_the_rows(data):
    for path in data.output.rglob("questions.*.jsonl"):
        path.unlink()


@pytest.mark.parametrize("task", ["captions", "qa", BESIDE])
@pytest.mark.parametrize(
    "change",
    [
        edit,
        edit_at_the_same_time,
        remove,
        add,
        edit_behind_a_link,
        swap_two_files,
        turn_notes_into_an_image,
        rewrite_the_questions,
        lose_a_list,
        lose_the_rows,
    ],
)
def test_after_a_change_the_plan_is_as_one_from_scratch(data, task, change, tmp_path):
    data.plan(task)
    change(data)
    scratch = data.plan(task, output=tmp_path / "scratch")
    wanted = data.lists(task, scratch, tmp_path / "scratch")
    for _ in range(2):
        plan = data.plan(task)
        assert plan == scratch
        assert data.lists(task, plan) == wanted


@pytest.mark.parametrize("above", [False, True])
def test_a_scan_spares_looking_at_the_images_that_it_saw(data, above, monkeypatch):
    """A scan does not see an image outside of its folder, so that one needs a look."""
    if above:
        data.rows[0]["image"] = ["../data/" + NAMES[0]]
        data.ask()
    plan = data.plan(BESIDE)
    looked = []
    stamps = scan.NamedImages.stamps
    monkeypatch.setattr(scan.NamedImages, "stamps", lambda self, names: looked.extend(names) or stamps(self, names))
    assert data.plan(BESIDE) == plan
    assert bool(looked) is above


@pytest.mark.parametrize("before", ["qa", BESIDE])
def test_a_scan_that_is_another_spares_it_again_from_the_next_one_on(data, before, monkeypatch):
    plan = data.plan(before)
    data.write("one more.png", b"", 0)
    assert data.plan(BESIDE) == plan
    monkeypatch.setattr(scan.NamedImages, "stamps", None)
    assert data.plan(BESIDE) == plan


def test_an_image_outside_of_the_scanned_folder_is_looked_at(data):
    data.rows[0]["image"] = ["../outside.png"]
    data.ask()
    data.write("../outside.png", b"", 0)
    before = data.plan(BESIDE)
    data.write("../outside.png", b"", 1)
    assert data.plan(BESIDE).chunks != before.chunks


def test_threads_look_where_looks_wait_and_only_there(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])

    def look(wait_s):
        now[0] += wait_s
        return wait_s, threading.current_thread() is threading.main_thread()

    waits_s = [0, 0, 2 * threads.WAITED_S, 0, 0]
    assert list(threads.map_in_order(look, waits_s)) == list(
        zip(waits_s, [True, True, True, False, False], strict=True)
    )


@pytest.mark.parametrize("task", ["captions", "qa"])
def test_another_number_of_chunks_is_another_plan(data, task):
    data.plan(task)
    assert data.plan(task, 4).n == 4


@pytest.fixture
def update(tmp_path, monkeypatch):
    """Change a module in a copy of the package, from which plans take their state."""
    copy = shutil.copytree(captionqa.PACKAGE, tmp_path / "captionqa")
    monkeypatch.setattr(plan_state, "PACKAGE", copy)

    def change(module):
        path = copy / Path(module.__file__).relative_to(captionqa.PACKAGE)
        path.write_text(path.read_text() + "# another version\n")

    return change


@pytest.mark.parametrize("task", ["captions", "qa"])
@pytest.mark.parametrize("module", [files, layout_module, image_file], ids=["ground", "config", "dataset"])
def test_an_update_of_captionqa_plans_anew(data, task, module, update, monkeypatch):
    data.plan(task)
    update(module)
    forbid(monkeypatch)
    with pytest.raises(AssertionError, match="planned anew"):
        data.plan(task)


@pytest.mark.parametrize("task", ["captions", "qa"])
@pytest.mark.parametrize("module", [summary, journal, qa], ids=["driver", "client", "results"])
def test_an_update_of_a_room_that_decides_no_plan_keeps_the_plan(data, task, module, update, monkeypatch):
    before = data.plan(task)
    update(module)
    forbid(monkeypatch)
    assert data.plan(task) == before


def test_all_code_that_planning_imports_is_part_of_a_plans_state():
    listing = f"import sys, {planning.__name__}; print(*(module.__file__ for module in sys.modules.values() "
    listing += "if module.__name__.startswith('captionqa.') and module.__file__))"
    found = subprocess.run(
        [sys.executable, "-c", listing],
        env={**os.environ, "PYTHONPATH": str(captionqa.WORKFLOW)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(found) > 10
    assert set(map(Path, found)) <= set(plan_state.deciding_modules())


def test_a_question_file_that_may_change_again_unseen_is_read_again(data):
    data.age(1)
    before, stat = data.plan("qa"), data.questions.stat()
    data.questions.write_bytes(data.questions.read_bytes().replace(b"What 0?", b"what 0?"))
    os.utime(data.questions, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert data.plan("qa").chunks != before.chunks


def test_a_file_that_could_not_be_looked_into_is_looked_into_again(data, monkeypatch):
    def fail(*_):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(scan, "open", fail, raising=False)
        assert data.plan("captions").items == len(NAMES) + 1
    assert data.plan("captions").items == len(NAMES) + 2


def test_files_without_suffix_are_looked_into_once_each(data, monkeypatch):
    data.plan("captions")
    looked, look = [], scan.looks_like_image
    monkeypatch.setattr(scan, "looks_like_image", lambda head: looked.append(head) or look(head))
    data.write("a-new-one", b"GIF89a", 8)
    data.write("zz", b"GIF87a", 9)
    (data.path / "notes").unlink()
    assert data.plan("captions").items == len(NAMES) + 4
    assert looked == [b"GIF89a", b"GIF87a"]
    data.write(NAMES[5], b"", 10)
    data.plan("captions")
    assert len(looked) == 2


def test_what_was_seen_in_a_file_says_nothing_of_another_folders(data):
    before = data.plan("captions")
    data.path = data.path.rename(data.path.parent / "moved")
    data.write("no-suffix", b"no image", 5)
    assert data.plan("captions").items == before.items - 1


@pytest.mark.parametrize("rows", [{0: "same", 70: "same"}, {2: "7", 3: "7"}])
def test_a_qid_that_is_there_twice_is_refused_by_name_and_rows(tmp_path, rows, little_memory):
    path = tmp_path / "questions.parquet"
    qids = [rows.get(number, f"q{number}") for number in range(80)]
    pd.DataFrame({"qid": qids, "question": "What?", "answer": "A", "image": "a.png"}).to_parquet(path)
    first, second = rows
    with pytest.raises(InputError, match=f"the qid {rows[first]!r} is there twice, in rows {first} and {second};"):
        plan_questions(path, tmp_path, 4, Layout(str(tmp_path / "output"), "tiny"))
    assert list((tmp_path / "output").rglob("*.jsonl")) == []


def test_a_qid_that_would_be_taken_for_a_repeat_of_another_is_refused(tmp_path):
    path = tmp_path / "questions.parquet"
    pd.DataFrame({"qid": ["q0", "q1\0b"], "question": "What?", "answer": "A", "image": "a.png"}).to_parquet(path)
    with pytest.raises(InputError, match=r"the qid 'q1\\x00b' in row 1 has a null character; remove it\.$"):
        plan_questions(path, tmp_path, 4, Layout(str(tmp_path / "output"), "tiny"))


def test_a_full_disk_is_said_in_one_sentence(data, make_config, monkeypatch):
    monkeypatch.setattr(external_sort.tempfile, "TemporaryFile", lambda dir: io.FileIO("/dev/full", "r+"))
    config = make_config({"captions": {"dataset_path": str(data.path)}})
    with pytest.raises(DiskFullError, match=f"the disk is full: make room in {data.output}"):
        planning.plan_task(config, Layout(str(data.output), "tiny"), "captions")


def test_planning_leaves_only_the_lists_and_what_it_remembers(data, little_memory):
    plans = {task: data.plan(task) for task in ("captions", "qa")}
    left = {path.name for path in data.output.rglob("*") if path.is_file()}
    lists = {name for task, plan in plans.items() for name in data.lists(task, plan)}
    assert left == lists | {"plan.json", "images.jsonl", "sniffed.jsonl", "questions_by_image"}
