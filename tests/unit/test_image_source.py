"""Images read by their references: files, cells, members of tars, lines of text files."""

import base64
import json
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.dataset import row_groups
from captionqa.dataset.arrow_cells import ArrowCells
from captionqa.dataset.column_cells import ColumnCells
from captionqa.dataset.image_ref import CellRef, DataRef, LineRef, MemberRef
from captionqa.dataset.image_source import ImageSources, stamp_of
from captionqa.dataset.parquet_encoding import NotUnderstoodError
from captionqa.errors import ItemFailure, Reason
from PIL import Image
from shard_files import IMAGE, image_table, save_to_disk, write_parquet, write_tar


@pytest.fixture
def pictures(encode):
    """So many different pictures, {name: bytes}."""
    return lambda count: {f"{n}.png": encode(Image.new("RGB", (8, 8), (n % 256, n // 256, 7))) for n in range(count)}


@pytest.fixture
def sources(tmp_path):
    return ImageSources(tmp_path.resolve())


def failure(sources, reference):
    with pytest.raises(ItemFailure) as caught:
        sources.find(str(reference)).read()
    return caught.value


def one_cell(tmp_path, values, kind=None):
    """A file with one column of these cells, and the bytes that its first cell gives."""
    pq.write_table(pa.table({"image": pa.array(values, kind)}), tmp_path / "t.parquet")
    return ImageSources(tmp_path.resolve()).find(str(CellRef("t.parquet", 0, 0, "image", None))).read()[0]


def test_a_cell_may_hold_bytes_a_struct_text_or_the_path_of_a_file(tmp_path, pictures):
    (name, data), (_, other) = pictures(2).items()
    (tmp_path / name).write_bytes(other)
    text = base64.b64encode(data).decode()
    assert one_cell(tmp_path, [data]) == data
    assert one_cell(tmp_path, [data], pa.large_binary()) == data
    assert one_cell(tmp_path, [{"bytes": data, "path": name}], IMAGE) == data, "bytes win over the path"
    assert one_cell(tmp_path, [{"bytes": None, "path": name}], IMAGE) == other
    assert one_cell(tmp_path, [[{"bytes": data, "path": None}]], pa.list_(IMAGE)) == data
    assert one_cell(tmp_path, [text]) == data
    assert one_cell(tmp_path, ["\n".join(text[at : at + 60] for at in range(0, len(text), 60))]) == data
    assert one_cell(tmp_path, [base64.urlsafe_b64encode(data).decode().rstrip("=")]) == data
    assert one_cell(tmp_path, [f"data:image/png;base64,{text}"]) == data
    assert one_cell(tmp_path, [name]) == other
    assert one_cell(tmp_path, pa.array([name]).dictionary_encode()) == other


def test_an_element_of_a_list_and_a_field_of_a_struct_are_read(tmp_path, pictures, sources):
    first, second = pictures(2).values()
    rows = [{"inside": {"more.images": [{"bytes": first, "path": "a"}, None, {"bytes": second, "path": "b"}]}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    column = "inside.more.images"
    assert sources.find(str(CellRef("t.parquet", 0, 0, column, 2))).read()[0] == second
    assert failure(sources, CellRef("t.parquet", 0, 0, column, 1)).reason is Reason.MISSING_IMAGE
    assert failure(sources, CellRef("t.parquet", 0, 0, column, 3)).reason is Reason.MISSING_IMAGE
    assert failure(sources, CellRef("t.parquet", 0, 0, column)).reason is Reason.UNREADABLE_IMAGE


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (None, Reason.MISSING_IMAGE, "holds no image"),
        (b"", Reason.MISSING_IMAGE, "holds no image"),
        ("", Reason.MISSING_IMAGE, "holds no image"),
        (7, Reason.UNREADABLE_IMAGE, "holds a int"),
        ("gone.png", Reason.MISSING_IMAGE, "gone.png"),
        ("../a.png", Reason.PATH_OUTSIDE_DATASET, "../a.png"),
        ("https://example.org/a.png", Reason.MISSING_IMAGE, "not fetched"),
        ("data:image/png;base64,###", Reason.UNREADABLE_IMAGE, "data: URI"),
        ("word " * 2000, Reason.UNREADABLE_IMAGE, "no image"),
        ({"url": "x"}, Reason.UNREADABLE_IMAGE, "a struct of url"),
    ],
)
def test_a_cell_that_is_no_image_says_what_it_holds(tmp_path, sources, value, reason, says):
    (tmp_path.parent / "a.png").write_bytes(b"x")
    pq.write_table(pa.table({"image": [value]}), tmp_path / "t.parquet")
    found = failure(sources, CellRef("t.parquet", 0, 0, "image"))
    assert (found.reason, says in found.detail) == (reason, True), found


@pytest.mark.parametrize("compression", ["snappy", "zstd"])
def test_rows_are_read_in_any_order_by_many_threads(tmp_path, pictures, sources, monkeypatch, compression):
    monkeypatch.setattr(row_groups, "BATCH_BYTES", 500)
    monkeypatch.setattr(row_groups, "KEPT_BYTES", 3000)
    contents = pictures(300)
    pq.write_table(image_table(contents), tmp_path / "t.parquet", row_group_size=70, compression=compression)
    wanted = [(CellRef("t.parquet", n // 70, n % 70, "image"), data) for n, data in enumerate(contents.values())]
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda pair: sources.find(str(pair[0])).read()[0], wanted + wanted[::-7]))
    assert read == [data for _, data in wanted + wanted[::-7]]


def test_rows_in_their_order_are_decoded_once(tmp_path, pictures, sources, monkeypatch):
    monkeypatch.setattr(row_groups, "BATCH_BYTES", 500)
    monkeypatch.setattr(row_groups, "KEPT_BYTES", 3000)
    pq.write_table(image_table(pictures(100)), tmp_path / "t.parquet", compression="zstd")
    decoded, real = [], row_groups._Pass._advance
    monkeypatch.setattr(row_groups._Pass, "_advance", lambda one: (decoded.append(1), real(one)))
    for row in range(0, 100, 3):
        sources.find(str(CellRef("t.parquet", 0, row, "image"))).read()
    in_order = len(decoded)
    assert in_order <= 100
    sources.find(str(CellRef("t.parquet", 0, 0, "image"))).read()
    assert len(decoded) == in_order + 1, "a row that was dropped takes a pass of its own, from the start to it"


#: Reads all rows of a folder's parquet files by many threads, as a chunk does, and prints the MB that this took.
READ_ALL = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pyarrow.parquet as pq
from captionqa.dataset.image_ref import CellRef
from captionqa.dataset.image_source import ImageSources

def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

folder = Path(sys.argv[1])
sources, names = ImageSources(folder), sorted(path.name for path in folder.iterdir())
before = peak_mb()
refs = [str(CellRef(name, 0, row, "image")) for name in names for row in range(60)]
with ThreadPoolExecutor(48) as threads:
    list(threads.map(lambda ref: len(sources.find(ref).read()[0]), refs))
print(peak_mb() - before)
"""


@pytest.mark.slow
def test_many_shards_read_by_many_threads_take_the_memory_of_a_few(tmp_path):
    for number in range(16):
        cells = [os.urandom(200_000) for _ in range(60)]
        pq.write_table(pa.table({"image": cells}), tmp_path / f"{number:02d}.parquet", compression="zstd")
    done = subprocess.run([sys.executable, "-c", READ_ALL, tmp_path], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 270, "of 192 MB in all, of which 48 are kept"


#: Small and large cells, some that snappy shrinks, twins, nulls and empty ones.
CELLS = [
    os.urandom(200_000),
    *(os.urandom(size) for size in range(900, 1000)),
    bytes(9_000),
    *(bytes(range(256)) + os.urandom(30_000) for _ in range(9)),
    None,
    b"",
    *[b"twin"] * 7,
    b"last",
]


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"write_batch_size": 9}, {"row_group_size": 50}])
@pytest.mark.parametrize("compression", ["none", "snappy"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), IMAGE, pa.struct([("in", pa.binary())])], ids=str)
def test_bytes_that_are_written_as_usual_are_read_from_their_place(tmp_path, sources, kind, compression, options):
    values, name = CELLS, "image"
    if pa.types.is_struct(kind):
        values, name = [cell if cell is None else {kind[0].name: cell} for cell in CELLS], f"image.{kind[0].name}"
    path = tmp_path / "t.parquet"
    table = pa.table({"other": CELLS, "image": pa.array(values, kind)})
    pq.write_table(table, path, compression=compression, **options)
    read = []
    with open(path, "rb") as file, pq.ParquetFile(path) as parquet:
        for group in range(parquet.num_row_groups):
            cells = ColumnCells(file, parquet, group, name.removesuffix(".bytes"))
            rows = range(parquet.metadata.row_group(group).num_rows)
            read += map(cells.value, rows)
            assert cells.value(0) == read[-len(rows)], "rows are read in any order"
            with pytest.raises(NotUnderstoodError):
                cells.value(len(rows))
    assert read == CELLS
    assert sources.find(str(CellRef("t.parquet", 0, 1, name.removesuffix(".bytes")))).read()[0] == CELLS[1]
    assert not sources.row_groups._passes._passes, "pyarrow has decoded nothing"


def test_what_snappy_shrank_in_a_column_is_not_kept_in_memory(tmp_path):
    path, cells = tmp_path / "t.parquet", [os.urandom(4_000) + bytes(400) for _ in range(3_000)]
    pq.write_table(pa.table({"image": cells}), path, use_dictionary=False, write_batch_size=32)
    with open(path, "rb") as file, pq.ParquetFile(path) as parquet:
        assert parquet.num_row_groups == 1
        column = ColumnCells(file, parquet, 0, "image")
        column.value(len(cells) - 1)
        tracemalloc.start()
        try:
            assert all(column.value(row) == cell for row, cell in enumerate(cells))
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < 2 << 20, "of 12 MB, of which 1 is kept"


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"data_page_version": "2.0"},
        {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY"},
        {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
        {"write_page_checksum": True},
    ],
    ids=str,
)
def test_bytes_that_are_written_otherwise_are_read_by_pyarrow(tmp_path, sources, options):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": CELLS}), path, **options)
    with open(path, "rb") as file, pq.ParquetFile(path) as parquet, pytest.raises(NotUnderstoodError):
        ColumnCells(file, parquet, 0, "image").value(0)
    for row in (0, 50, len(CELLS) - 1):
        assert sources.find(str(CellRef("t.parquet", 0, row, "image"))).read()[0] == CELLS[row]


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_a_damaged_byte_gives_no_other_cell_than_pyarrow_does(tmp_path, compression):
    path, damaged = tmp_path / "t.parquet", tmp_path / "damaged.parquet"
    cells = [None, *(bytes(range(200)) + os.urandom(size) for size in range(1, 40)), b"twin", b"twin"]
    image = pa.array([{"bytes": cell} for cell in cells], pa.struct([("bytes", pa.binary())]))
    pq.write_table(pa.table({"image": image}), path, compression=compression, write_statistics=False)
    content = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start, data = column.dictionary_page_offset, column.data_page_offset
    end = start + column.total_compressed_size
    flips = [(place, bit) for place in [*range(start, start + 20), *range(data, data + 16)] for bit in range(8)]
    flips += [(place, place % 8) for place in [*range(start + 20, start + 99), *range(data + 16, end)]]
    kept = 0
    for place, bit in flips:
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        with open(damaged, "rb") as file, pq.ParquetFile(damaged) as parquet:
            try:
                read = list(map(ColumnCells(file, parquet, 0, "image").value, range(len(cells))))
            except NotUnderstoodError:
                continue
            kept += 1
            try:
                expected = [image and image["bytes"] for image in parquet.read()["image"].to_pylist()]
            except (OSError, ValueError):  # it refuses damage that decides nothing
                expected = cells
            assert read == expected, (place, bit)
    assert kept > 100, "a damaged image is still the image at that place"


def test_a_file_that_changed_is_opened_again(tmp_path, pictures, sources):
    first, second = pictures(2).items()
    path, reference = write_parquet(tmp_path / "t.parquet", dict([first])), str(CellRef("t.parquet", 0, 0, "image"))
    data, stamp = sources.find(reference).read()
    assert (data, stamp) == (first[1], stamp_of(tmp_path, reference))
    write_parquet(tmp_path / "t.parquet", dict([second]))
    os.utime(path, ns=(0, 1))
    data, stamp = sources.find(reference).read()
    assert (data, stamp) == (second[1], (path.stat().st_size, 1)) == (second[1], stamp_of(tmp_path, reference))


def test_members_of_a_tar_are_read_by_their_place(tmp_path, pictures, sources):
    import tarfile

    contents = pictures(3)
    path = write_tar(tmp_path / "t.tar", contents)
    with tarfile.open(path) as tar:
        members = [member for member in tar if member.name.endswith(".png")]
    for member, data in zip(members, contents.values(), strict=True):
        found = sources.find(str(MemberRef("t.tar", member.offset_data, member.size, member.name)))
        assert found.read() == (data, (path.stat().st_size, path.stat().st_mtime_ns))
    os.truncate(path, members[2].offset_data + 5)
    cut = failure(sources, MemberRef("t.tar", members[2].offset_data, members[2].size, "2.png"))
    assert (cut.reason, cut.detail) == (Reason.UNREADABLE_IMAGE, "the tar ends before it does")
    assert failure(sources, MemberRef("t.tar", 0, 0, "x")).reason is Reason.UNREADABLE_IMAGE
    assert failure(sources, MemberRef("gone.tar", 0, 9, "x")).reason is Reason.MISSING_IMAGE


def test_arrow_files_and_streams_are_read(tmp_path, pictures, sources):
    contents = pictures(3)
    save_to_disk(tmp_path / "ds", [image_table(contents)])
    with pa.OSFile(str(tmp_path / "f.arrow"), "wb") as file, pa.ipc.new_file(file, image_table({}).schema) as writer:
        writer.write_table(image_table(contents), max_chunksize=1)
    for row, data in enumerate(contents.values()):
        stream = CellRef("ds/data-00000-of-00001.arrow", 0, row, "image")
        assert sources.find(str(stream)).read()[0] == data
        assert sources.find(str(CellRef("f.arrow", row, 0, "image"))).read()[0] == data
    assert failure(sources, CellRef("f.arrow", 3, 0, "image")).reason is Reason.MISSING_IMAGE


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (
            IMAGE,
            [{"bytes": b"x" * 99, "path": None}, None, {"bytes": None, "path": "a.png"}, {"bytes": b"", "path": ""}],
        ),
        (pa.list_(IMAGE), [[{"bytes": b"1", "path": "a"}, None], [], None, [{"bytes": b"23", "path": None}]]),
        (pa.list_(pa.binary(), 2), [[b"1", None], None, [b"", b"23"]]),
        (pa.large_list(pa.large_binary()), [[b"1"], None, [b"", b"23"]]),
        *((kind, [b"x" * 99, None, b"", b"short"]) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
        *((kind, ["\u00e4" * 99, None, "", "a.png"]) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        (pa.dictionary(pa.int8(), pa.binary()), [b"one", None, b"two", b"one"]),
        (pa.binary(3), [b"one", None, b"two"]),
        (pa.int16(), [7, None, -7]),
        (pa.null(), [None, None]),
        (pa.struct([("in", pa.struct([("image", pa.binary())]))]), [{"in": {"image": b"x"}}, {"in": None}, None]),
    ],
    ids=str,
)
def test_a_cell_of_an_arrow_file_is_what_arrow_says(tmp_path, kind, values, compression):
    path, options = tmp_path / "t.arrow", pa.ipc.IpcWriteOptions(compression=compression)
    table = pa.table({"other": ["x"] * len(values), "cells": pa.array(values, kind)})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as writer:
        for batch in table.to_batches(2):
            writer.write_batch(batch)
    cells = ArrowCells(path)
    assert [cells.value(CellRef(path.name, row // 2, row % 2, "cells")) for row in range(len(values))] == values
    if pa.types.is_struct(kind) and "in" in kind.names:
        field = [cells.value(CellRef(path.name, row // 2, row % 2, "cells.in.image")) for row in range(len(values))]
        assert field == [b"x", None, None]
    if isinstance(values[0], list):
        first = [cells.value(CellRef(path.name, row // 2, row % 2, "cells", 1)) for row in range(len(values))]
        assert first == [value[1] if value and len(value) > 1 else None for value in values]


#: Reads the first row of an Arrow file, cuts the file, and reads the last row.
CUT_IN_USE = """
import os
import sys
from pathlib import Path
from captionqa.dataset.arrow_cells import ArrowCells
from captionqa.dataset.column_cells import ColumnCells
from captionqa.dataset.image_ref import CellRef

cells = ArrowCells(Path(sys.argv[1]))
cells.value(CellRef("", 0, 0, "image"))
os.truncate(sys.argv[1], 100_000)
try:
    cells.value(CellRef("", 0, 99, "image"))
except ValueError as error:
    print(error)
"""


def test_an_arrow_file_that_is_cut_while_it_is_read_is_a_failure_and_ends_no_job(tmp_path, start_python):
    save_to_disk(tmp_path / "ds", [image_table({f"{n}.png": os.urandom(10_000) for n in range(100)})])
    reader = start_python(CUT_IN_USE, tmp_path / "ds" / "data-00000-of-00001.arrow")
    said, errors = reader.communicate()
    assert (reader.returncode, said, errors) == (0, "it was cut while it was in use; make or download it again\n", "")


#: Reads the first row of a parquet file, cuts the file, and reads the last row, of the open file and of the file anew.
CUT_PARQUET_IN_USE = """
import os
import sys
from pathlib import Path
from captionqa.dataset.image_ref import CellRef
from captionqa.dataset.image_source import ImageSources
from captionqa.errors import ItemFailure

path = Path(sys.argv[1])
sources = ImageSources(path.parent)
sources.find(str(CellRef(path.name, 0, 0, "image"))).read()
cells = sources.row_groups._files[path]._cells
os.truncate(path, 105_000)
failed = []
for row in range(100):
    try:
        assert len(cells.value(CellRef(path.name, 0, row, "image"))) == 10_000
    except OSError:
        failed.append(row)
print(failed[0], failed[-1])
try:
    sources.find(str(CellRef(path.name, 0, 99, "image"))).read()
except ItemFailure as failure:
    print(failure.detail)
"""


@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_a_parquet_file_that_is_cut_while_it_is_read_is_a_failure_and_ends_no_job(tmp_path, start_python, compression):
    cells = image_table({f"{n}.png": os.urandom(10_000) for n in range(100)})
    pq.write_table(cells, tmp_path / "t.parquet", compression=compression)
    reader = start_python(CUT_PARQUET_IN_USE, tmp_path / "t.parquet")
    said, errors = reader.communicate()
    expected = "10 99\nit cannot be read: it is cut; make or download it again\n"
    assert (reader.returncode, said, errors) == (0, expected, "")


def test_lines_of_text_files_are_read(tmp_path, pictures, sources):
    data = next(iter(pictures(1).values()))
    text = base64.b64encode(data).decode()
    files = {
        "a.jsonl": (json.dumps({"id": 1, "in": {"image": [None, text]}}), "in.image", 1),
        "a.csv": (f'1,"two\nlines",{text}', "2", None),
        "a.tsv": (f"1\tx\t{text}", "2", None),
    }
    for name, (line, column, index) in files.items():
        (tmp_path / name).write_text(f"first line\n{line}\nlast line\n")
        reference = LineRef(name, 11, len(line), column, index)
        assert sources.find(str(reference)).read()[0] == data
        bad = LineRef(name, 11, len(line), "9", None)
        assert failure(sources, bad).reason is Reason.MISSING_IMAGE
        assert sources.find(str(bad)).described() == f"{name!r}, line 2, 9"
    assert failure(sources, LineRef("a.jsonl", 3, 5, "x")).reason is Reason.UNREADABLE_IMAGE
    assert sources.find(str(DataRef(f"data:;base64,{text}"))).read()[0] == data


def test_a_damaged_row_group_fails_its_rows_and_no_others(tmp_path, sources):
    path = tmp_path / "t.parquet"
    contents = {f"{n}.png": os.urandom(2000) for n in range(20)}
    pq.write_table(image_table(contents), path, row_group_size=10, compression="none", write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[content.index(contents["15.png"]) + 9] ^= 1
    path.write_bytes(content)
    for row, data in enumerate(list(contents.values())[:10]):
        assert sources.find(str(CellRef("t.parquet", 0, row, "image"))).read()[0] == data
    bad = CellRef("t.parquet", 1, 5, "image")
    assert failure(sources, bad).reason is Reason.UNREADABLE_IMAGE
    assert sources.find(str(bad)).described() == "'t.parquet', row 15, image"
    for reference in (CellRef("t.parquet", 2, 0, "image"), CellRef("t.parquet", 0, 10, "image")):
        assert failure(sources, reference).reason is Reason.MISSING_IMAGE
    assert failure(sources, CellRef("t.parquet", 0, 0, "picture")).detail == "there is no column 'picture'"


def test_open_containers_are_few(tmp_path, pictures, sources):
    contents = next(iter(pictures(1).values()))
    for number in range(100):
        (tmp_path / f"{number}.tar").write_bytes(contents)
    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(4) as threads:
        texts = [str(MemberRef(f"{number}.tar", 0, len(contents), "x")) for number in range(100)] * 2
        assert list(threads.map(lambda text: sources.find(text).read()[0], texts)) == [contents] * 200
    assert len(os.listdir("/proc/self/fd")) - before <= 64
