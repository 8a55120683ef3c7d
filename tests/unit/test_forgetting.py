"""Forgetting answers: they are moved aside for one undo, and the final files stay."""

from contextlib import suppress
from pathlib import Path

import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.layout import Layout
from captionqa.errors import ConfigError
from captionqa.files import read_json_lines, write_json
from captionqa.results.forgetting import forget, undo_forget
from captionqa.results.set_aside import SetAside

NAMES = [f"image{number}.png" for number in range(12)]


@pytest.fixture
def config(make_config):
    return make_config({"qa": None})


@pytest.fixture
def files(config):
    return AnswerFiles(Layout(config.output_dir, "tiny").captions_work("simple"))


@pytest.fixture
def answer(jobs):
    """Run the one chunk, and give back its captions by image."""

    def run():
        (job,) = jobs()
        if not job.result.exists():
            ChunkRun(job).run()
        _, *lines = read_json_lines(job.result)
        return {line["id"]: line["answer"]["text"] for line in lines}

    return run


@pytest.fixture
def answered(images, server, answer, config):
    """A final file whose answers were all cut at max_tokens, by a server that is well by now; returns the captions."""
    images.add(*NAMES)
    write_json(Layout(config.output_dir, "tiny").captions("simple"), {})
    server.fail("length")
    captions = answer()
    server.heal()
    return captions


@pytest.mark.parametrize("only_truncated", [False, True])
def test_what_is_forgotten_is_asked_again_and_the_final_file_stays(
    config, files, answered, server, answer, only_truncated
):
    forgetting = forget(config, None, None, only_truncated)
    assert len(server.asked) == len(NAMES)
    assert files.chunks.exists()
    assert "captions SIMPLE: 12 of 12 answers" in forgetting.text()
    assert str(files.forgotten) in forgetting.text()
    assert forgetting.items == forgetting.apply() == 12
    assert files.asked_again.exists()
    assert Path(Layout(config.output_dir, "tiny").captions("simple")).exists()
    assert answer().keys() == answered.keys()
    assert len(server.asked) == 2 * len(NAMES)


def test_only_truncated_answers_are_forgotten_if_so_asked(config, images, server, answer):
    images.add(*NAMES)
    answer()
    forgetting = forget(config, None, None, only_truncated=True)
    assert not forgetting.has_effect
    assert forgetting.text() == "There is nothing to forget."


@pytest.mark.parametrize("only_truncated", [False, True])
def test_an_undo_brings_back_all_without_a_request(config, files, answered, server, answer, only_truncated):
    forget(config, None, None, only_truncated).apply()
    assert not list(files.chunks.glob("*"))
    undo = undo_forget(config, None, None)
    assert "captions SIMPLE: the 12 answers that were moved aside on " in undo.text()
    undo.apply()
    assert len(list(files.chunks.glob("*"))) == 1
    assert answer() == answered
    (result,) = files.chunks.glob("*")
    result.unlink()
    assert answer() == answered
    assert len(server.asked) == len(NAMES)


def test_an_undo_after_a_new_run_keeps_the_new_answers_aside(config, answered, server, answer):
    forget(config, None, None).apply()
    new = answer()
    assert new != answered
    undo_forget(config, None, None).apply()
    assert answer() == answered
    undo_forget(config, None, None).apply()
    assert answer() == new
    assert len(server.asked) == 2 * len(NAMES)


def test_a_second_forget_says_what_it_deletes(config, answered, answer):
    first = forget(config, None, None)
    assert "deletes for good" not in first.text()
    first.apply()
    answer()
    second = forget(config, None, None)
    assert "which deletes for good the 12 answers that were moved there on " in second.text()
    second.apply()


def test_forgetting_twice_without_a_run_between_keeps_what_is_aside(config, answered, answer):
    forget(config, None, None).apply()
    assert not forget(config, None, None).has_effect
    undo_forget(config, None, None).apply()
    assert answer() == answered


def test_without_anything_aside_there_is_nothing_to_undo(config):
    with pytest.raises(ConfigError, match="there is nothing to undo"):
        undo_forget(config, None, None)


@pytest.mark.parametrize("only_truncated", [False, True])
@pytest.mark.parametrize("step", range(8))
def test_a_forget_that_is_stopped_at_any_rename_loses_nothing(
    config, answered, server, answer, monkeypatch, step, only_truncated
):
    """And what it began is finished by the next command."""
    steps, rename = iter(range(20)), Path.rename

    def stop(path, target):
        if next(steps) == step:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stop)
        with suppress(KeyboardInterrupt):
            forget(config, None, None, only_truncated).apply()
    begun = forget(config, None, None, only_truncated)
    if not begun.has_effect:
        undo_forget(config, None, None).apply()
    assert answer() == answered
    assert len(server.asked) == len(NAMES)


def test_a_full_disk_while_the_journal_is_copied_changes_nothing(config, files, answered, answer, monkeypatch):
    def fail(self, *_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SetAside, "_write_record", fail)
        with pytest.raises(OSError, match="the disk is full"):
            forget(config, None, None, only_truncated=True).apply()
    assert answer() == answered
    assert not files.forgotten.exists()
