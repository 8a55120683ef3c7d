"""What the whole suite shares: the order of its tests, and the demo's configuration."""

import os

import pytest
import yaml
from projects import DEMO_MODEL, ROOT
from xdist.scheduler import LoadScopeScheduling

#: Folders whose tests share one server.
SHARING = ("tests/slurm/", "tests/vllm/")


def pytest_collection_modifyitems(items):
    """The longest first, so that all processes end at the same time: what shares a server, then whole workflows."""
    order = (*SHARING, "tests/workflow/")
    items.sort(key=lambda item: next((n for n, room in enumerate(order) if item.nodeid.startswith(room)), len(order)))


class SharedServersScheduling(LoadScopeScheduling):
    """Keeps the tests that share a Slurm in one process, and those that share a vLLM; all others run beside them.

    Those on Slurm and those of starts and ends mostly wait, so two cores have enough for four processes.
    """

    def _split_scope(self, nodeid):
        return next((room for room in SHARING if nodeid.startswith(room)), nodeid)


def pytest_xdist_make_scheduler(config, log):
    return SharedServersScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def no_kept_rates():
    """Keep the rates of test servers out of the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONQA_RATES", "")
        yield


@pytest.fixture(scope="session", autouse=True)
def no_cluster():
    """Keep any Slurm from tests that do not start one: another process of the suite has one for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def byte_code():
    """Spare the many short processes of the tests compiling the same modules again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="session")
def demo_config():
    """config/demo.yaml with paths that hold anywhere."""
    config = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    for section, key in (("captions", "dataset_path"), ("qa", "dataset_path"), ("qa", "question_path")):
        config[section][key] = str(ROOT / config[section][key])
    model = config["models"][DEMO_MODEL]
    model["path"] = str(ROOT / model["path"])
    assert (ROOT / ".venv-vllm" / "bin" / "python").exists(), "run `make setup` first: these tests need a real vLLM"
    return config
