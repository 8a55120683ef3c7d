"""Small results as chunk jobs leave them, and their exports: captions of a data set, and graded answers."""

from pathlib import Path

from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.client.item import NEW_PICTURE
from captionqa.client.item_file import content_digest
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint, qa_settings
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.image_source import ImageSources
from captionqa.export.export import export_answers, export_captions
from captionqa.export.target import ExportFolder
from captionqa.files import json_line, read_json, read_json_lines
from captionqa.grading.scoring import GradingRules
from captionqa.results.qa import merge_qa

TEXT = 'Two lines:\n"quoted", 猫 <image>\\n\ud83d\t{}.'


def answer(text, finish_reason="stop", tokens=7):
    server = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}
    return {
        "text": text,
        "finish_reason": finish_reason,
        "prompt_tokens": 10,
        "completion_tokens": tokens,
        "server": server,
    }


def write_result(path, settings, lines):
    lines = sorted(lines, key=lambda line: line["id"])
    header = {
        "chunk": "0-of-1",
        "format": FORMAT,
        "fingerprint": fingerprint(settings),
        "settings": settings,
        "items": len(lines),
        "asked": len(lines),
        "shared": 0,
        "known": 0,
        "failed": 0,
        "started": 1000.0,
        "finished": 1001.0,
        "concurrency": 4,
        "client": {"host": "node", "job": None},
        "servers": [],
    }
    write_chunk(path, header, lines)
    return str(path)


class Captions:
    """Captions of a data set, each the text with its item's name, and what the exports make of them."""

    def __init__(self, tmp_path, make_config, dataset_path, cut=(), failed=(), text=TEXT.format, schema=None):
        self.tmp_path = tmp_path
        self.config = make_config({"captions": {"dataset_path": str(dataset_path), "schema": schema}})
        self.layout = Layout(self.config.output_dir, "tiny")
        self.plan()
        self.settings = caption_settings(self.config, "tiny", "SIMPLE")
        self.sources = ImageSources(data_root(str(dataset_path)))
        lines = []
        self.expected = {}
        for entry in self.entries:
            name = entry["id"]
            if name in failed:
                lines.append({"id": name, "failure": "timeout", "detail": "too late"})
                continue
            images = entry.get("images", [name])
            digests = [content_digest(self.sources.find(image).read()[0]) + NEW_PICTURE for image in images]
            given = answer(text(name), "length" if name in cut else "stop")
            lines.append({"id": name, "answer": given, "files": digests})
            self.expected[name] = text(name).replace("\ud83d", "\\ud83d")
        self.chunk = write_result(tmp_path / "chunk.jsonl", self.settings, lines)

    def plan(self):
        dataset_path = self.config.captions.dataset_path
        plan = plan_captions(Path(dataset_path), 2, self.layout, self.config.captions.columns)
        self.lists = plan.item_lists(self.layout, "captions")
        self.entries = [entry for items in self.lists for entry in read_json_lines(items)]

    def export(self, form, leave_out=False, shard_mb=500):
        folder = self.tmp_path / "export" / form
        export = ExportFolder(folder, [self.chunk, *self.lists], form, leave_out, shard_mb)
        scratch = self.tmp_path / "scratch"
        arguments = (self.settings, "SIMPLE", self.sources, scratch, leave_out, shard_mb, export)
        export_captions(form, [self.chunk], self.lists, *arguments)
        self.summary = read_json(folder / ".export")
        return folder


QUESTION = "Which?\nA. red\nB. blue"
ROWS = {
    "q/1": (r"\boxed{A}", QUESTION, answer("The answer is A.")),
    "q/2": (r"\boxed{A}", QUESTION, answer("B", "length")),
    "q3": (["blue", "teal"], "Which colour?\n猫", answer("teal")),
    "q4": (None, "What?", answer("A cat.\nOr two.\ud83d")),
    "q5": (r"\boxed{A}", QUESTION, None),
    "q6": (r"\boxed{Z}", QUESTION, answer("A")),
}


class Answers:
    """Graded answers, and what the exports make of them.

    `rows`, {qid: (ground truth, question, answer)}, may have further fields of the question's row as a fourth part.
    """

    def __init__(self, tmp_path, make_config, rows=ROWS):
        self.tmp_path = tmp_path
        self.settings = qa_settings(make_config(), "tiny")
        lines = [
            {"id": qid, "answer": given, "files": ["d"]}
            if given
            else {"id": qid, "failure": "timeout", "detail": "late"}
            for qid, (_, _, given, *_) in rows.items()
        ]
        self.chunk = write_result(tmp_path / "chunk.jsonl", self.settings, lines)
        rows_file = tmp_path / "rows.jsonl"
        known = {"images": ["a.png"], "category": "c", "source": "s"}
        rows_file.write_text(
            "".join(
                json_line({"id": qid, "question": question, "answer": truth, **known, **dict(*fields)})
                for qid, (truth, question, _, *fields) in rows.items()
            )
        )
        self.made = {
            kind: str(tmp_path / f"{kind}.json")
            for kind in ("results", "metrics", "failures", "provenance", "flips", "graded")
        }
        named = {f"{kind}_path": path for kind, path in self.made.items()}
        merge_qa(
            [self.chunk],
            str(rows_file),
            self.settings,
            question_path="q",
            dataset_path="d",
            rules=GradingRules(),
            **named,
        )

    def export(self, form):
        folder = self.tmp_path / "export" / form
        files = (self.made["results"], self.made["metrics"], self.made["provenance"])
        arguments = ([self.chunk], self.settings, self.tmp_path, 500, ExportFolder(folder, files[:1], form))
        export_answers(form, *files, *arguments)
        self.summary = read_json(folder / ".export")
        return folder
