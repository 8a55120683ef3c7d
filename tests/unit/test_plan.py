"""Plans: an item's name alone decides its place, and a chunk's name changes only where its items do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pillow_heif
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.layout import Layout
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.final_files import final_files, items_to_do
from captionqa.dataset.places import place, question_place
from captionqa.dataset.plan import load_plan
from captionqa.dataset.question_plan import plan_questions
from captionqa.dataset.skipped_files import skipped_text
from captionqa.errors import InputError
from captionqa.files import json_line, read_json_lines
from captionqa.results.set_aside import SetAside
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

PLAN = """
import sys
from pathlib import Path
from captionqa.dataset.caption_plan import plan_captions
from captionqa.errors import InputError
from captionqa.config.layout import Layout
try:
    plan_captions(Path(sys.argv[1]), 4, Layout(sys.argv[2], "tiny"))
except InputError as error:
    print(error)
"""
NAMES = [f"sub{number % 3}/image{number}.png" for number in range(40)]


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path / "output"), "tiny")


@pytest.fixture
def plan(images, layout):
    return lambda chunks=8: plan_captions(images.path, chunks, layout)


@pytest.fixture
def members(plan, layout):
    """{item: number of its chunk}, from the written item lists."""

    def read(chunks=8):
        made = plan(chunks)
        found = {}
        for (index, _, count), path in zip(made.chunks, made.item_lists(layout, "captions"), strict=True):
            lines = Path(path).read_text().splitlines()
            assert len(lines) == count
            for line in lines:
                name = json.loads(line)["id"]
                assert name not in found
                found[name] = index
        return found

    return read


@pytest.fixture
def ask(tmp_path, images, layout):
    """Plan questions given as (qid, images); gives the plan and {qid: number of its chunk}."""

    def of(rows, chunks=8):
        path = tmp_path / "questions.parquet"
        frame = pd.DataFrame({"qid": [row[0] for row in rows], "image": [row[1] for row in rows]})
        frame.assign(question="What?", answer="A").to_parquet(path)
        made = plan_questions(path, images.path, chunks, layout)
        found = {}
        for (index, _, _), listed in zip(made.chunks, made.item_lists(layout, "qa"), strict=True):
            found |= {json.loads(line)["id"]: index for line in Path(listed).read_text().splitlines()}
        return made, found

    return of


def digests(plan):
    return {index: digest for index, digest, _ in plan.chunks}


def test_places_never_change_between_versions_or_processes(workflow_folder):
    assert [place("image1.jpg"), place("sub/ä.png")] == [3035250391, 168245158]
    code = "from captionqa.dataset.places import place; print(place('image1.jpg'))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(workflow_folder)}
        said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert int(said.stdout) == 3035250391


def test_places_spread_over_the_whole_range():
    quarters = [place(f"image{number}.jpg") >> 30 for number in range(400)]
    assert all(quarters.count(quarter) > 50 for quarter in range(4))


def test_every_item_is_in_exactly_one_chunk(images, members):
    images.add(*NAMES)
    assert set(members(1)) == set(members(8)) == set(members(1024)) == set(NAMES)


@settings(max_examples=20)
@given(names=st.sets(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=2, max_size=12), data=st.data())
def test_adding_an_item_moves_no_other(tmp_path_factory, names, data):
    folder = tmp_path_factory.mktemp("images")
    layout = Layout(str(tmp_path_factory.mktemp("output")), "tiny")
    last = data.draw(st.sampled_from(sorted(names)))

    def lists():
        made = plan_captions(folder, 4, layout)
        paths = made.item_lists(layout, "captions")
        return {
            json.loads(line)["id"]: chunk[0]
            for chunk, path in zip(made.chunks, paths, strict=True)
            for line in Path(path).read_text().splitlines()
        }

    for name in names - {last}:
        (folder / f"{name}.png").touch()
    before = lists()
    (folder / f"{last}.png").touch()
    after = lists()
    assert after.pop(f"{last}.png") is not None
    assert after == before


def test_an_added_image_renames_its_own_chunk_alone(images, plan):
    images.add(*NAMES)
    before = digests(plan())
    images.add("new.png")
    after = digests(plan())
    assert [index for index in after if after[index] != before.get(index)] == [place("new.png") * 8 >> 32]


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_an_edited_or_removed_image_renames_its_own_chunk_alone(images, plan, change):
    images.add(*NAMES)
    before = digests(plan())
    target = images.path / NAMES[5]
    if change == "edit":
        target.write_bytes(target.read_bytes() + b"more")
    else:
        target.unlink()
    after = digests(plan())
    assert [index for index in before if after.get(index) != before[index]] == [place(NAMES[5]) * 8 >> 32]


def test_an_edit_that_keeps_the_size_is_seen_by_its_time(images, plan):
    images.add(*NAMES)
    before = plan()
    os.utime(images.path / NAMES[0], ns=(1, 1))
    assert plan() != before


def test_planning_again_changes_no_file(images, plan, layout):
    images.add(*NAMES)
    (images.path / "no-suffix").write_bytes((images.path / NAMES[0]).read_bytes())
    first = plan()
    stamps = {path: path.stat().st_mtime_ns for path in Path(layout.plans).rglob("*") if path.is_file()}
    assert plan() == first
    assert {path: path.stat().st_mtime_ns for path in Path(layout.plans).rglob("*") if path.is_file()} == stamps


def test_the_plan_that_jobs_load_is_the_drivers(images, plan, layout):
    images.add(*NAMES)
    made = plan()
    assert load_plan(layout, "captions") == made
    with pytest.raises(InputError, match="start the workflow again"):
        load_plan(layout, "qa")


@pytest.fixture
def planned(images, plan):
    images.add(*NAMES)
    return plan()


def test_a_result_path_carries_chunk_number_fingerprint_and_digest(planned):
    index, digest, _ = planned.chunks[0]
    assert planned.results("work", "f" * 12)[0] == f"work/chunks/{index}-of-8.{'f' * 12}.{digest}.jsonl"


def test_items_of_chunks_that_have_no_result_are_counted(planned, tmp_path):
    assert planned.pending_items(planned.results(str(tmp_path), "f" * 12)) == len(NAMES)
    path = Path(planned.results(str(tmp_path), "f" * 12)[0])
    path.parent.mkdir()
    path.touch()
    assert planned.pending_items(planned.results(str(tmp_path), "f" * 12)) == len(NAMES) - planned.chunks[0][2]
    assert planned.pending_items(planned.results(str(tmp_path), "0" * 12)) == len(NAMES)


def test_items_to_do_are_those_of_all_final_files_without_a_result(images, ask, plan, layout, make_config):
    images.add(*NAMES)
    planned = plan()
    ask([("q1", NAMES[0]), ("q2", NAMES[1])])
    config = make_config({"captions": {"prompt_styles": ["SIMPLE", "LONG"]}})
    assert items_to_do(config, layout) == {"captions": 2 * len(NAMES), "qa": 2}
    file, _ = final_files(config, layout, "captions")
    result = Path(file.results(config, layout)[0])
    result.parent.mkdir(parents=True)
    result.touch()
    assert items_to_do(config, layout)["captions"] == 2 * len(NAMES) - planned.chunks[0][2]


def test_an_image_item_has_an_image_suffix_or_an_image_content(images, plan, members):
    images.add("a.png", "b.JPG", "no-suffix", "deep/er/c.webp", "wrong.txt")
    (images.path / "text.jpg").write_text("no image, but the name says so")
    (images.path / "notes.txt").write_text("notes")
    (images.path / "empty").touch()
    (images.path / "broken.png").symlink_to("nowhere.png")
    (images.path / "broken").symlink_to("nowhere")
    wanted = {"a.png", "b.JPG", "no-suffix", "deep/er/c.webp", "wrong.txt", "text.jpg", "broken.png"}
    assert set(members()) == wanted
    assert plan().skipped_files == 3


def test_what_is_skipped_is_counted_by_kind(images, plan, members):
    images.add("a.png", "__MACOSX/a.png", "sub/@eaDir/b.jpg", ".ipynb_checkpoints/c.png", "._real.png")
    others = {"notes.txt": 3, "clip.MP4": 2, "scan.cr3": 1, "Thumbs.db": 1, ".DS_Store": 1, "README": 1}
    for name, count in others.items():
        for number in range(count):
            path = images.path / (name if not number else f"sub{number}/{name}")
            path.parent.mkdir(exist_ok=True)
            path.write_text("no image")
    for number in range(20):
        (images.path / f"._{number}.jpg").write_bytes(b"\0\x05\x16\x07\0\2\0\0Mac OS X")
    (images.path / "wrong.jpg").write_text("no image, but the name says so")
    assert set(members()) == {"a.png", "._real.png", "wrong.jpg"}
    assert plan().skipped == {
        "macOS ._ files": 20,
        "txt": 3,
        "mp4": 2,
        "system files": 2,
        "cr3 (camera raw)": 1,
        "without a suffix": 1,
        "in __MACOSX": 1,
        "in @eaDir": 1,
        "in .ipynb_checkpoints": 1,
    }
    assert plan().skipped_files == 32
    assert skipped_text(plan().skipped).startswith("skipped: 20 macOS ._ files, 3 txt, 2 mp4, 2 system files, ")
    assert skipped_text(plan().skipped).endswith(" of other kinds")


def test_an_image_that_an_earlier_version_did_not_know_is_found_by_its_content(images, members, layout):
    images.add("a.png")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(images.path / "photo", format="HEIF")
    members()
    lines = [[path, stamp, False] for path, stamp, _ in read_json_lines(layout.sniffed)]
    layout.sniffed.write_text("".join(map(json_line, lines)))
    (images.path / "b.png").write_bytes((images.path / "a.png").read_bytes())
    assert set(members()) == {"a.png", "b.png", "photo"}


def test_a_file_without_suffix_is_looked_into_again_once_it_changed(images, members):
    images.add("a.png")
    (images.path / "data").write_text("not yet")
    assert set(members()) == {"a.png"}
    (images.path / "data").write_bytes((images.path / "a.png").read_bytes())
    assert set(members()) == {"a.png", "data"}


def test_a_file_without_suffix_is_looked_into_only_once(images, members):
    images.add("a.png", "data")
    assert set(members()) == {"a.png", "data"}
    stat = (images.path / "data").stat()
    (images.path / "data").write_bytes(b"x" * stat.st_size)
    os.utime(images.path / "data", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert set(members()) == {"a.png", "data"}


def test_a_link_back_up_the_tree_ends_the_walk(images, members):
    images.add("a.png", "sub/b.png")
    (images.path / "sub" / "up").symlink_to(images.path)
    assert set(members()) == {"a.png", "sub/b.png"}


def test_the_output_folder_within_the_data_set_holds_no_image_of_it(images):
    images.add("a.png", "sub/b.png", "sub/out/report/thumbnails/c.png")
    for output, skipped in (("sub/out", {"sub/out/report/thumbnails/c.png"}), ("elsewhere", set()), (".", set())):
        layout = Layout(str(images.path / output), "tiny")
        made = plan_captions(images.path, 1, layout)
        (listed,) = made.item_lists(layout, "captions")
        found = {line["id"] for line in read_json_lines(Path(listed))}
        assert found == {"a.png", "sub/b.png", "sub/out/report/thumbnails/c.png"} - skipped


def test_a_link_to_itself_does_not_stop_the_scan(images, members):
    images.add("a.png")
    (images.path / "loop.png").symlink_to("loop.png")
    assert set(members()) == {"a.png", "loop.png"}


def test_a_link_to_a_folder_of_the_data_set_renames_no_item(images, members):
    images.add(*NAMES)
    before = members()
    for number in range(20):
        (images.path / f"link{number}").symlink_to("sub1")
    after = members()
    assert {name: after.get(name) for name in before} == before


def test_names_that_are_not_utf_8_are_items(images, members):
    images.add("a.png")
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    (images.path / name).write_bytes((images.path / "a.png").read_bytes())
    assert set(members()) == {"a.png", name}


def test_a_folder_without_images_is_an_error(images, plan):
    (images.path / "notes.txt").write_text("notes")
    with pytest.raises(InputError, match=r"holds no image \(skipped: 1 txt\)"):
        plan()


def test_a_missing_folder_is_an_error_that_names_the_key(tmp_path, layout, images, ask):
    with pytest.raises(InputError, match=r"captions\.dataset_path: there is no folder"):
        plan_captions(tmp_path / "nowhere", 4, layout)
    images.path.rmdir()
    with pytest.raises(InputError, match=r"qa\.dataset_path: there is no folder"):
        ask([("q1", "a.png")])


def test_questions_on_the_same_images_share_a_chunk(ask):
    _, found = ask([(f"q{number}", f"image{number % 4}.png") for number in range(40)], chunks=64)
    assert len(found) == 40
    for number in range(40):
        assert found[f"q{number}"] == found[f"q{number % 4}"]
    assert len(set(found.values())) > 1


def test_a_question_on_one_image_is_in_the_chunk_of_that_image(ask):
    _, found = ask([(f"q{number}", f"image{number}.png") for number in range(40)], chunks=64)
    assert found == {f"q{number}": place(f"image{number}.png") * 64 >> 32 for number in range(40)}


def test_where_questions_are_stays_as_it_was_once_some_are_answered(ask, layout):
    """An answer is looked for where the question's place says."""
    journal = Path(layout.qa_work()) / "journal" / "0001.jsonl"
    rows = [(f"q{number}", f"image{number}.png") for number in range(40)]
    by_image = ask(rows, chunks=64)
    journal.parent.mkdir(parents=True)
    journal.write_text("an answer\n")
    more = [*rows, ("q40", "image40.png")]
    assert by_image[1].items() <= ask(more, chunks=64)[1].items()
    layout.questions_by_image.unlink()  # as an earlier version leaves it
    assert not by_image[1].items() <= ask([*more, ("q41", "image41.png")], chunks=64)[1].items()
    assert not layout.questions_by_image.exists()


def test_where_questions_are_stays_as_it_was_while_answers_are_forgotten_that_may_come_back(ask, layout):
    journal = AnswerFiles(layout.qa_work()).journal
    journal.mkdir(parents=True)
    (journal / "0001.jsonl").write_text("an answer of an earlier version\n")
    aside = SetAside(AnswerFiles(layout.qa_work()))
    aside.forget_all(1)
    ask([("q1", "image1.png")])
    assert not layout.questions_by_image.exists()
    aside.undo(0)
    assert (journal / "0001.jsonl").exists()


def test_a_questions_place_depends_on_the_order_of_its_images():
    assert question_place(["a", "b"], "q1") == question_place(["a", "b"], "q2")
    assert question_place(["a", "b"], "q1") != question_place(["b", "a"], "q1")


def test_an_edited_image_renames_the_chunk_of_its_questions_alone(images, ask):
    images.add(*NAMES)
    rows = [(f"q{number}", name) for number, name in enumerate(NAMES)]
    before, _ = ask(rows)
    (images.path / NAMES[3]).write_bytes(b"edited")
    after, found = ask(rows)
    assert [index for index in digests(before) if digests(after)[index] != digests(before)[index]] == [found["q3"]]


@pytest.fixture
def plan_rows(tmp_path, images, layout):
    """Plan one question for each mapping of columns that differ from a default row."""
    images.add("a.png", "b.png")
    row = {"question": "What?", "answer": "A", "image": "a.png", "category": "c", "source": "s"}

    def of(*changes):
        path = tmp_path / "questions.parquet"
        pd.DataFrame([{"qid": f"q{n}", **row, **change} for n, change in enumerate(changes)]).to_parquet(path)
        return plan_questions(path, images.path, 4, layout)

    return of


def read_rows(plan, layout):
    return [json.loads(line) for line in Path(layout.question_rows(plan.rows)).read_text().splitlines()]


def asked_items(plan, layout):
    return [json.loads(line) for path in plan.item_lists(layout, "qa") for line in Path(path).read_text().splitlines()]


@pytest.mark.parametrize("change", [{"question": "Which?"}, {"image": "b.png"}])
def test_an_edited_question_renames_its_chunk_and_the_rows(plan_rows, change):
    before, after = plan_rows({}), plan_rows(change)
    assert before.chunks != after.chunks
    assert before.rows != after.rows


@pytest.mark.parametrize("change", [{"answer": "B"}, {"category": "d"}, {"source": "t"}])
def test_what_only_grading_needs_renames_the_rows_and_no_chunk(plan_rows, layout, change):
    before, after = plan_rows({}), plan_rows(change)
    assert before.chunks == after.chunks
    assert before.rows != after.rows
    assert read_rows(before, layout)[0] | change == read_rows(after, layout)[0]


def test_item_lists_have_what_decides_a_request_and_the_rows_the_rest(plan_rows, layout):
    plan = plan_rows({})
    assert [item.keys() for item in asked_items(plan, layout)] == [{"id", "question", "images", "stamps", "by_image"}]
    assert read_rows(plan, layout) == [
        {"id": "q0", "question": "What?", "answer": "A", "images": ["a.png"], "category": "c", "source": "s"}
    ]


def test_rows_are_sorted_by_id(plan_rows, layout):
    ids = [row["id"] for row in read_rows(plan_rows(*[{}] * 12), layout)]
    assert ids == sorted(ids)
    assert len(ids) == 12


def test_a_row_that_cannot_be_asked_is_in_no_chunk_and_in_the_rows(plan_rows, layout):
    plan = plan_rows({}, {"question": None}, {"question": " "}, {})
    assert (plan.items, plan.invalid_rows) == (2, 2)
    assert {item["id"] for item in asked_items(plan, layout)} == {"q0", "q3"}
    assert {row["id"] for row in read_rows(plan, layout) if "invalid" in row} == {"q1", "q2"}
    assert load_plan(layout, "qa") == plan


def test_questions_of_which_none_can_be_asked_are_an_error(plan_rows):
    with pytest.raises(InputError, match=r"none of its 2 rows can be asked; the first is q0: .* 'question' is empty"):
        plan_rows({"question": None}, {"question": None})


def test_the_order_of_the_questions_decides_nothing(ask):
    rows = [(f"q{number}", f"image{number % 4}.png") for number in range(40)]
    assert ask(rows) == ask(rows[::-1])


@pytest.mark.parametrize(("questions", "chunks"), [(1, 4), (8000, 4), (8001, 8)])
def test_auto_takes_few_chunks_and_powers_of_two(ask, questions, chunks):
    made, _ = ask([(f"q{number}", "a.png") for number in range(questions)], chunks="auto")
    assert made.n == chunks
    assert made.items == questions


def test_a_folder_named_like_an_image_is_walked_and_is_no_item(images, members):
    images.add("a.png", "x.jpg/b.png")
    assert set(members()) == {"a.png", "x.jpg/b.png"}


@pytest.mark.slow
def test_very_many_questions_are_planned_in_even_chunks(tmp_path, images, layout):
    number, path = 250_000, tmp_path / "questions.parquet"
    columns = {"qid": range(number), "question": ["What?"] * number, "answer": ["A"] * number}
    table = pa.table({**columns, "image": [f"image{at % 10_000}.png" for at in range(number)]})
    pq.write_table(table, path)
    made = plan_questions(path, images.path, "auto", layout)
    counts = [count for _, _, count in made.chunks]
    assert (made.items, sum(counts), made.n, len(counts)) == (number, number, 128, 128)
    assert max(counts) < 2 * number / 128
    listed = sum(Path(path).read_bytes().count(b"\n") for path in made.item_lists(layout, "qa"))
    assert listed == number


@pytest.mark.slow
def test_a_folder_without_permission_to_read_stops_the_plan_with_one_sentence(
    images, layout, start_python, without_privileges
):
    images.add("a.png", "closed/b.png")
    (images.path / "closed").chmod(0)
    process = start_python(without_privileges + PLAN, images.path, layout.output_dir)
    said, errors = process.communicate()
    (images.path / "closed").chmod(0o700)
    assert said.strip() == (
        f"captions.dataset_path: the folder {images.path / 'closed'} cannot be read: Permission denied."
    ), errors
