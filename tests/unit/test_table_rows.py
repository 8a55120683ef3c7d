"""Tables: rows of every kind of file are read alike, a few at a time; what is no table is refused in one sentence."""

import base64
import gzip
import json
import os
import subprocess
import sys

import captionqa
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.config.qa_config import ColumnsConfig
from captionqa.dataset import json_elements
from captionqa.dataset.question_file import Questions
from captionqa.dataset.table_files import find_table_files
from captionqa.errors import InputError

ROWS = [
    {"qid": f"q{number}", "question": f"What {number}?\nA. x\nB. y", "answer": "A", "image": f"{number}.png"}
    for number in range(5)
]
PNG = b"\x89PNG\r\n\x1a\n"


def write(path, rows=ROWS):
    """Write rows as the kind of table that the suffix says; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    elif path.suffix in (".csv", ".tsv"):
        frame.to_csv(path, sep="," if path.suffix == ".csv" else "\t", index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return path


def read(paths, columns=None, **options):
    return list(Questions(paths, ColumnsConfig(choices=None) if columns is None else columns, **options))


def ids(rows):
    return [row["id"] for row in rows]


WANTED = [
    {
        "id": row["qid"],
        "question": row["question"],
        "answer": "A",
        "images": [row["image"]],
        "category": "uncategorized",
        "source": "unknown",
    }
    for row in ROWS
]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv"])
def test_rows_of_every_kind_of_table_are_alike(tmp_path, suffix):
    assert read(write(tmp_path / f"q{suffix}")) == WANTED


@pytest.mark.parametrize("wrapped", [{"info": {"n": 1}, "data": ROWS, "licenses": [], "tags": ["a"]}, {"rows": ROWS}])
def test_an_object_may_hold_the_one_list_of_rows(tmp_path, wrapped):
    path = tmp_path / "q.json"
    path.write_text(json.dumps(wrapped, indent=1))
    assert read(path) == WANTED


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.json", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("q.jsonl", json.dumps(ROWS)),
        ("q.jsonl", json.dumps(ROWS, indent=2)),
        ("q.csv", pd.DataFrame(ROWS).to_csv(sep="\t", index=False)),
    ],
    ids=["lines in .json", "a list in .jsonl", "an indented list in .jsonl", "tabs in .csv"],
)
def test_content_counts_more_than_the_suffix(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read(tmp_path / name) == WANTED


def test_of_two_lists_the_one_that_is_meant_has_to_be_named(tmp_path):
    path = tmp_path / "q.json"
    path.write_text(json.dumps({"images": [{"id": 1}], "annotations": ROWS}))
    with pytest.raises(InputError, match=r"holds the lists images, annotations; name the one .* in qa\.columns\.rows"):
        read(path)
    assert read(path, ColumnsConfig(rows="annotations")) == WANTED


def test_an_object_of_objects_has_its_keys_as_a_column(tmp_path):
    path = tmp_path / "q.json"
    path.write_text(json.dumps({row["qid"]: {"question": row["question"]} for row in ROWS}))
    assert ids(read(path, ColumnsConfig(qid="$key"))) == ids(WANTED)


def test_rows_that_are_lists_have_numbered_columns(tmp_path):
    path = tmp_path / "q.json"
    path.write_text(json.dumps([["What?", "red", 7]]))
    (row,) = read(path, ColumnsConfig(question="0", answer="1", images="images/{2}.png"))
    assert (row["question"], row["answer"], row["images"]) == ("What?", "red", ["images/7.png"])


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_json_is_read_in_blocks_of_any_size_and_each_row_is_where_it_says(tmp_path, monkeypatch, block):
    monkeypatch.setattr(json_elements, "BLOCK_BYTES", block)
    values = [{"a": "ä😀", "n": 12}, {"b": [1, {"c": "é"}]}, {}]
    path = tmp_path / "q.json"
    text = json.dumps({"x": {"y": [1]}, "z": values}, ensure_ascii=False, indent=2)
    path.write_text("\ufeff" + text)
    found = list(json_elements.elements(path))
    assert [value for _, _, value in found] == values
    data = path.read_bytes()
    assert [json.loads(data[offset : offset + length]) for offset, length, _ in found] == values


@pytest.mark.parametrize("name", ["data", "data/*.parquet", ["data/b-0.parquet", "data/b-1.parquet"]])
def test_shards_are_read_one_after_another(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data" / "b-0.parquet", ROWS[:2])
    write(tmp_path / "data" / "b-1.parquet", ROWS[2:])
    assert read(name) == WANTED


def test_the_shards_of_save_to_disk_are_those_that_it_lists(tmp_path):
    write(tmp_path / "data-00000-of-00002.arrow", ROWS[:2])
    write(tmp_path / "data-00001-of-00002.arrow", ROWS[2:])
    write(tmp_path / "cache-1.arrow", ROWS)
    listed = [{"filename": f"data-0000{number}-of-00002.arrow"} for number in range(2)]
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": listed}))
    assert read(str(tmp_path)) == WANTED


def notes(paths):
    questions = Questions(paths)
    list(questions)
    return questions.notes


def test_what_is_not_read_is_named(tmp_path):
    write(tmp_path / "test-00000-of-00003.parquet", ROWS[:2])
    write(tmp_path / "test-00001-of-00003.parquet", [])
    pd.DataFrame(ROWS[:0], columns=list(ROWS[0])).to_parquet(tmp_path / "test-00001-of-00003.parquet")
    (tmp_path / "more.jsonl.gz").write_bytes(b"")
    write(tmp_path / "old.csv")
    (tmp_path / "README.md").write_text("about")
    assert notes(str(tmp_path)) == [
        f"{tmp_path}: 1 .csv, 1 .jsonl.gz not read as questions",
        f"{tmp_path / 'test'}: 1 of 3 shards are not among the files that are read",
        f"{tmp_path / 'test-00001-of-00003.parquet'} has no rows",
    ]


@pytest.mark.parametrize("names", [("test.parquet", "train.parquet"), ("test/0.parquet", "validation/0.parquet")])
def test_files_and_folders_that_are_called_as_splits_are_no_shards_of_one(tmp_path, names):
    for name in names:
        write(tmp_path / name)
    with pytest.raises(InputError, match=r"holds the splits test.*; name one, as .*/test"):
        read(str(tmp_path))
    assert ids(read(str(tmp_path / names[0]))) == ids(WANTED)


def test_a_shard_that_lacks_a_column_is_named(tmp_path):
    pd.DataFrame(ROWS).assign(choices=[["x", "y"]] * 5).to_parquet(tmp_path / "a-00000-of-00002.parquet")
    write(tmp_path / "a-00001-of-00002.parquet", [row | {"qid": f"b{row['qid']}"} for row in ROWS])
    questions = Questions(str(tmp_path), ColumnsConfig())
    assert len(list(questions)) == 10
    first, second = (tmp_path / f"a-0000{number}-of-00002.parquet" for number in range(2))
    assert f"{second} has no column choices, which {first} has" in questions.notes


def test_one_of_several_splits_has_to_be_named(tmp_path):
    for split in ("test", "train"):
        write(tmp_path / f"{split}-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"holds the splits test, train; name one by a glob, as .*/test-\*\.parquet"):
        read(str(tmp_path))


PARQUET = b"PAR1 not really PAR1"
BROKEN = {
    "an empty parquet": ("q.parquet", b"", "cannot be read as a parquet file"),
    "a cut parquet": ("q.parquet", None, "cannot be read as a parquet file"),
    "a pointer of git-lfs": ("q.parquet", b"version https://git-lfs.github.com/spec/v1\noid x\n", "git-lfs pointer"),
    "an empty CSV": ("q.csv", b"", "has no rows"),
    "a CSV with its header alone": ("q.csv", b"qid,question\n", "has no rows"),
    "a CSV with too many cells": ("q.csv", b"qid,question\n1,What?,x\n", "row 0 has 3 cells for 2 columns"),
    "a CSV cut within quotes": ("q.csv", b'qid,question\n1,"What?\n', "row 0: unexpected end of data"),
    "a CSV with a repeated column": ("q.csv", b"qid,qid\n1,2\n", "two columns are called 'qid'"),
    "a line that is no JSON": ("q.jsonl", b'{"question": "a"}\n{"question": \n', "row 1 is no JSON"),
    "a line that is a number": ("q.jsonl", b"1\n", "row 0 is no object with columns"),
    "a cut JSON": ("q.json", b'[{"question": "a"}, {"quest', "no JSON behind byte 20 .* the file may be cut"),
    "a JSON of numbers": ("q.json", b"[1, 2]", "row 0 is no object with columns"),
    "a JSON without rows": ("q.json", b'{"a": 1}', "holds no list of objects"),
    "a CSV that ends in a row": ("q.csv", b"qid,question,answer\n1,What?,x\n2,Wh", "row 1 has 2 cells for 3 .* be cut"),
    "text in another encoding": (
        "q.csv",
        "qid,question\n1,caf\xe9\n".encode("latin-1"),
        r"cannot be read as CSV: byte 18 \(0xe9\) is no text in UTF-8",
    ),
    "text in UTF-16": ("q.csv", "qid,question\n1,a\n".encode("utf-16"), "it is text in UTF-16; save it in UTF-8"),
    "JSON lines in UTF-16": ("q.jsonl", '{"question": "a"}\n'.encode("utf-16"), "it is text in UTF-16"),
    "lines of old Macs": ("q.csv", b'qid,question\r1,"a"\r', r"its lines end as on old Macs \(CR\)"),
    "a name without end": ("q.csv", b'qid,"question\n1,a\n', "the names of its columns cannot be read"),
    "a packed file": ("q.jsonl.gz", gzip.compress(b"{}"), "is packed; unpack it first"),
    "a packed file of another name": ("q.jsonl", gzip.compress(b"{}"), "it is packed; unpack it first"),
    "Feather's first version": ("q.feather", b"FEA1 and so on", "it is in Feather's first version"),
    "a table of pandas by columns": ("q.json", b'{"question": {"0": "a"}}', "write it again with to_json"),
    "an unknown suffix": ("q.xlsx", b"PK", "has a suffix that is not read"),
}


@pytest.mark.parametrize(("name", "content", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_sentence(tmp_path, name, content, says):
    path = tmp_path / name
    if content is None:
        content = write(path).read_bytes()[:-30]
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_parquet_that_is_damaged_behind_its_header_is_one_sentence(tmp_path):
    path = tmp_path / "q.parquet"
    table = pa.table({"question": [os.urandom(500).hex() for _ in range(2000)]})
    pq.write_table(table, path, compression="snappy", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a parquet file"):
        read(path)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b'\xef\xbb\xbfqid,question\r\n1,"a, ""b""\r\nc"\r\n\r\n2,d\r\n', ['a, "b"\nc', "d"]),
        (b"qid;question\n1;a, b\n2;c\n", ["a, b", "c"]),
        (b"\n \nqid,question\n1,a\n  \n2,b,,\n", ["a", "b"]),
    ],
    ids=["Windows", "semicolons", "empty lines and cells"],
)
def test_a_csv_is_read_as_programs_write_it(tmp_path, content, wanted):
    path = tmp_path / "q.csv"
    path.write_bytes(content)
    assert [row["question"].replace("\r", "") for row in read(path)] == wanted


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_images(path, row_group):
    """Write 2,000 rows of which each second has an image of 200 kB, without holding them all."""
    schema = pa.schema([("qid", pa.string()), ("question", pa.string()), ("answer", pa.string()), ("image", IMAGE)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, 2000, 100):
            image = {"bytes": PNG + os.urandom(200_000), "path": None}
            images = pa.array([image if number % 2 == 0 else None for number in range(100)], IMAGE)
            numbers = [str(start + number) for number in range(100)]
            batch = pa.record_batch([numbers, ["What?"] * 100, ["x"] * 100, images], schema=schema)
            writer.write_batch(batch, row_group)


def peak_mb(path):
    """The most memory that reading the questions of a file takes, in a process of its own."""
    program = (
        "import re, sys; from captionqa.dataset.question_file import Questions\n"
        "images = sum(len(row['images']) for row in Questions([sys.argv[1]]))\n"
        "print(images, int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": str(captionqa.WORKFLOW)},
        capture_output=True,
        text=True,
        check=True,
    )
    images, peak = map(int, done.stdout.split())
    return images, peak


@pytest.mark.slow
@pytest.mark.parametrize("row_group", [100, 2000], ids=["small row groups", "one row group"])
def test_two_thousand_large_images_are_not_held_in_memory(tmp_path, row_group):
    path = tmp_path / "q.parquet"
    write_images(path, row_group)
    images, peak = peak_mb(path)
    assert images == 1000
    assert peak < 300


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".tsv"])
def test_one_cell_of_50_mb_is_not_held_more_than_once_or_twice(tmp_path, suffix):
    text = base64.b64encode(PNG + os.urandom(37_500_000)).decode()
    row = {"qid": "1", "question": "What?", "answer": "x", "image": text}
    images, peak = peak_mb(write(tmp_path / f"q{suffix}", [row]))
    assert images == 1
    assert peak < 300


CELL = PNG + bytes(50)
#: Columns of types that programs write, and the answers and numbers of images of their rows.
TYPES = {
    "views": (
        {"answer": pa.array(["x", "y"], pa.string_view()), "image": pa.array([CELL, None], pa.binary_view())},
        [("x", 1), ("y", 0)],
    ),
    "views of paths": (
        {"answer": pa.array(["x", "y"], pa.string_view()), "image": pa.array(["a", None], pa.string_view())},
        [("x", 1), ("y", 0)],
    ),
    "large": (
        {
            "answer": pa.array(["x", None], pa.large_string()),
            "image": pa.array([[CELL], []], pa.large_list(pa.large_binary())),
        },
        [("x", 1), (None, 0)],
    ),
    "categories": (
        {"answer": pa.array(["x", "x"]).dictionary_encode(), "image": pa.array(["a", None]).dictionary_encode()},
        [("x", 1), ("x", 0)],
    ),
    "lists of one size": (
        {
            "answer": pa.array([1, None], pa.int8()),
            "image": pa.array([["a", "b"], ["c", None]], pa.list_(pa.string(), 2)),
        },
        [("1", 2), (None, 1)],
    ),
    "structs": (
        {
            "answer": [True, False],
            "image": pa.array([{"path": "a", "bytes": None}, {"path": None, "bytes": CELL}], IMAGE),
        },
        [("yes", 1), ("no", 1)],
    ),
    "lists of structs": (
        {"answer": [1.0, 2.5], "image": pa.array([[{"path": None, "bytes": CELL}] * 2, None], pa.list_(IMAGE))},
        [("1", 2), ("2.5", 0)],
    ),
    "nothing": ({"answer": pa.nulls(2), "image": pa.array([[], None], pa.list_(pa.null()))}, [(None, 0), (None, 0)]),
}


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(("columns", "wanted"), TYPES.values(), ids=TYPES)
def test_columns_of_every_type_are_read(tmp_path, suffix, columns, wanted):
    path = tmp_path / f"q{suffix}"
    table = pa.table({"qid": ["1", "2"], "question": ["What?", "Who?"], **columns})
    if suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    rows = read(path)
    assert [(row["answer"], len(row["images"])) for row in rows] == wanted
    assert "invalid" not in rows[0]


def test_find_table_files_names_a_path_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"qa\.question_path: there is no file .*none\.parquet"):
        find_table_files(str(tmp_path / "none.parquet"), "qa.question_path")
    with pytest.raises(InputError, match="no file matches"):
        find_table_files(str(tmp_path / "*.parquet"), "qa.question_path")
    with pytest.raises(InputError, match="holds no table; tables are files with the suffix"):
        find_table_files(str(tmp_path), "qa.question_path")
