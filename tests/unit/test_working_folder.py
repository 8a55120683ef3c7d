"""A warning where others may write to the folder that holds the scripts that Snakemake runs."""

import os

import pytest
from captionqa.driver.working_folder import sharing_warning

ANOTHER_ID = 65_534


@pytest.mark.parametrize("place", [".", ".snakemake"])
@pytest.mark.parametrize(
    ("mode", "user", "group", "warns"),
    [
        (0o755, None, ANOTHER_ID, False),
        (0o775, None, None, False),  # a group of the user's own name
        (0o2775, None, ANOTHER_ID, True),
        (0o1777, None, None, True),
        (0o755, ANOTHER_ID, None, True),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have files of two users")
def test_a_folder_in_which_others_may_write_is_named(tmp_path, place, mode, user, group, warns):
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    os.chown(folder, -1 if user is None else user, -1 if group is None else group)
    folder.chmod(mode)  # a change of the owner takes the setgid bit away
    warning = sharing_warning(tmp_path)
    assert (warning is not None) == warns
    assert not warns or f"other users may write in {folder}" in warning
