"""An output folder in which this user may not write is refused in one sentence, before anything is read there."""

import os
import subprocess

import pytest
from captionqa.driver.output_folder import check_output_folder
from captionqa.errors import ConfigError

CHECK = """
import sys
from pathlib import Path
from captionqa.config.check import load_config
from captionqa.driver.output_folder import check_output_folder
from captionqa.errors import CaptionqaError
try:
    config = load_config(Path(sys.argv[1]))
    check_output_folder(config, config.layout())
except CaptionqaError as error:
    print(error)
"""
CONFIG = """
output_dir: {}
models: {{tiny: {{path: .}}}}
captions: {{docs: {{dataset_path: docs}}, photos: {{dataset_path: photos}}}}
"""


#: Those of a data set.
FOLDERS = [f"photos/{name}" for name in ("work/items/captions", "work/tiny", "captions/tiny", "logs/tiny", "report")]


@pytest.fixture
def said(tmp_path, start_python, without_privileges):
    """What a user hears who may write only where modes allow it."""

    def run(output_dir):
        (tmp_path / "my.yaml").write_text(CONFIG.format(output_dir))
        said, errors = start_python(without_privileges + CHECK, tmp_path / "my.yaml").communicate(timeout=60)
        assert not errors
        return said

    return run


@pytest.mark.parametrize("closed", ["", "docs/work/items", "photos", *FOLDERS])
def test_a_folder_that_this_user_may_not_write_in_is_named(tmp_path, said, closed):
    out = tmp_path / "out"
    for folder in ("docs/work/items", *FOLDERS):
        (out / folder).mkdir(parents=True)
    assert said(out) == ""
    (out / closed).chmod(0o555)
    sentence = f"output_dir: you cannot write in {out / closed}, whose mode forbids it; set another output_dir.\n"
    assert said(out) == sentence
    if not closed:
        assert said(out / "new") == sentence


def test_a_folder_that_this_user_may_not_read_is_named(tmp_path, said):
    out = tmp_path / "out"
    closed = out / "work" / "tiny" / "model_versions.json"
    closed.parent.mkdir(parents=True)
    closed.write_text("{}")
    out.chmod(0)
    assert said(out) == f"output_dir: you cannot read {closed}; set another output_dir.\n"
    out.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have files of two users and mount a file system")
def test_whose_folder_it_is_or_that_it_is_mounted_read_only_is_said(tmp_path, said, make_config):
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 65_534, 65_534)
    assert said(out) == f"output_dir: you cannot write in {out}, which belongs to nobody; set another output_dir.\n"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", out], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount a file system: {mounted.stderr.strip()}")
    try:
        config = make_config({"output_dir": str(out)})
        with pytest.raises(ConfigError, match=f"write in {out}, whose file system is mounted read-only; set another"):
            check_output_folder(config, config.layout())
    finally:
        subprocess.run(["umount", "--lazy", out], check=True)
