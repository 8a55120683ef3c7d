"""The demo, run once, and one real vLLM, which tests share."""

import shutil
from pathlib import Path

import pytest
import yaml
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.run.lease import LeaseKeeper
from captionqa.server import generation_key
from captionqa.server.lifecycle import Server
from projects import DEMO_MODEL, ROOT, Project


@pytest.fixture(scope="session")
def demo(demo_config, tmp_path_factory):
    """The demo, run once from the server's start to the metrics.

    Its model is a copy in the project, and an option names its chat template, so that a test may change both.
    """
    project = Project(tmp_path_factory.mktemp("demo"))
    project.model = DEMO_MODEL
    model = demo_config["models"][DEMO_MODEL]
    shutil.copytree(model["path"], project.folder / "model")
    shutil.copy(project.folder / "model" / "chat_template.jinja", project.folder / "own.jinja")
    server = {**model["server"], "extra_args": [*model["server"]["extra_args"], "--chat-template", "own.jinja"]}
    models = {DEMO_MODEL: {**model, "path": "model", "server": server}}
    project.config = {**demo_config, "output_dir": "out", "models": models}
    project.printed = project.run()
    return project


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory):
    """The output folder of the shared vLLM."""
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="session")
def live_dataset(tmp_path_factory):
    """The one folder that the shared vLLM may read files in."""
    return tmp_path_factory.mktemp("dataset")


@pytest.fixture(scope="session")
def live(demo_config, live_folder, live_dataset):
    """A vLLM of two API servers that serves the demo model under our supervisor: (layout, endpoint).

    It is tuned for captions by a schema, for questions, which ask about images again (each API server has a cache of
    images), and for seeds.
    """
    (live_folder / "schema.json").write_text('{"type": "object"}')
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    model = demo_config["models"][DEMO_MODEL]
    config = check(
        {
            **demo_config,
            "models": {DEMO_MODEL: {**model, "server": {**model["server"], "api_servers": 2}}},
            "output_dir": str(live_folder),
            "captions": {"dataset_path": str(live_dataset), "schema": str(live_folder / "schema.json")},
            "qa": {**demo_config["qa"], "dataset_path": str(live_dataset)},
            "client": {"image_transport": "file", "sampling": {"temperature": 1, "seed": 1}},
        },
        schema,
    )
    layout = Layout(str(live_folder), DEMO_MODEL)
    lease, server = LeaseKeeper(layout.server), Server(config, DEMO_MODEL, layout)
    lease.start()
    try:
        (ready,) = server.start()
        yield layout, ready
    finally:
        lease.release()
        server.stop()


@pytest.fixture(scope="session")
def live_server(live):
    """The shared vLLM: (url, key)."""
    layout, ready = live
    return ready.url, generation_key.read(layout.server, ready)


@pytest.fixture
def photographs(demo_config, live_server, tmp_path, monkeypatch):
    """A project on the sample photographs that scikit-image ships, with the shared server as an existing one."""
    import skimage

    url, key = live_server
    monkeypatch.setenv("SHARED_KEY", key)
    project = Project(tmp_path)
    project.model = DEMO_MODEL
    source = Path(skimage.__file__).parent / "data"
    shutil.copytree(source, tmp_path / "photographs", ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    model = demo_config["models"][DEMO_MODEL] | {"url": url, "api_key_env": "SHARED_KEY"}
    project.config = {
        "output_dir": "out",
        "models": {DEMO_MODEL: model},
        "captions": {"dataset_path": "photographs", "prompt_styles": ["SIMPLE"], "max_tokens": 32, "chunks": 2},
    }
    return project
