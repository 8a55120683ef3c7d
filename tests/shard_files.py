"""Shards as people have them: parquet files, tars of WebDataset and folders of `save_to_disk`, made of pictures."""

import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq

#: What `datasets` writes into the schema of a column of images.
FEATURES = {b"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}}).encode()}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def image_table(pictures, paths=True, **columns):
    """A table of pictures, {name: bytes}, as `datasets` writes it."""
    cells = [{"bytes": data, "path": name if paths else None} for name, data in pictures.items()]
    fields = {"image": pa.array(cells, IMAGE), **{name: pa.array(values) for name, values in columns.items()}}
    return pa.table(fields).replace_schema_metadata(FEATURES)


def write_parquet(path, pictures, paths=True, group=None, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(image_table(pictures, paths, **columns), path, row_group_size=group)
    return path


def write_tar(path, pictures, format=tarfile.PAX_FORMAT, beside=("txt", "json")):
    """A tar of samples: each picture, {name: bytes}, and small files of the same key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in pictures.items():
            key = name.rpartition(".")[0]
            for member, content in [(name, data), *((f"{key}.{suffix}", b"{}") for suffix in beside)]:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def save_to_disk(folder, tables):
    """A folder as `Dataset.save_to_disk` writes it, with one Arrow stream for each table."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{number:05d}-of-{len(tables):05d}.arrow" for number in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"image": {"_type": "Image"}}}))
    return folder
