"""The version of Snakemake's Slurm executor: what the workflow was not written for is refused in one sentence."""

import tomllib
from importlib import metadata

import captionqa
import pytest
from captionqa.errors import DependencyError
from captionqa.server.slurm_plugin import PINNED, PLUGIN, check_plugin


@pytest.mark.parametrize("version", ["2.8.0", "2.8.1", "2.8.12", "2.8.1.post1"])
def test_the_pinned_release_and_its_patches_fit(version):
    check_plugin(version)


@pytest.mark.parametrize("version", ["2.3.1", "2.7.9", "2.80.0", "2.9.0", "3.0.0", "2", "1.8.0", ""])
def test_another_version_is_refused_with_what_to_do(version):
    with pytest.raises(DependencyError) as refused:
        check_plugin(version)
    text = str(refused.value)
    assert text.startswith(f"snakemake-executor-plugin-slurm {version} is installed, but captionqa needs 2.8.x; ")
    assert "`make setup`" in text
    assert f"`pip install snakemake-executor-plugin-slurm=={PINNED}`" in text


def test_the_pinned_version_is_the_projects_and_the_installed_one_fits():
    project = tomllib.loads((captionqa.CHECKOUT / "pyproject.toml").read_text())
    assert f"{PLUGIN}=={PINNED}" in project["project"]["dependencies"]
    check_plugin(metadata.version(PLUGIN))
