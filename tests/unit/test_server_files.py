"""The server folder: closed to other users, and what another user put there does not count."""

import logging
import os
import stat

import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.config import server_files
from captionqa.config.layout import Layout
from captionqa.config.server_files import ServerFiles
from captionqa.errors import ConfigError, ServerDeadError
from captionqa.files import write_json
from captionqa.run.lease import LeaseKeeper, LeaseWatch, live_lease
from captionqa.run.run_record import read_run_record, write_run_record
from captionqa.server import endpoint, generation_key, start_request
from captionqa.server.lifecycle import Server

ANOTHER_USER = 65_534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have files of two users")


@pytest.fixture
def group_folder(tmp_path):
    """A folder that a group shares, as with setgid and a umask of 002."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o2775)
    before = os.umask(0o002)
    yield folder
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def existing(group_folder, stand_in, make_config):
    """The driver's side of an existing server."""

    def make():
        tiny = {"url": stand_in.url, "served_model_name": "tiny"}
        config = make_config({"output_dir": str(group_folder), "models": {"tiny": tiny}})
        return Server(config, "tiny", Layout(config.output_dir, "tiny"))

    return make


@pytest.mark.parametrize("exists", [False, True])
def test_the_server_folder_is_for_its_user_alone_whatever_the_umask(group_folder, exists):
    folder = group_folder / "work" / "tiny" / "server"
    if exists:
        folder.mkdir(parents=True)
        assert mode(folder) & 0o070 == 0o070
    lease = LeaseKeeper(folder)
    lease.start()
    assert mode(folder) == 0o700
    lease.release()


def test_the_folder_is_closed_before_a_key_is_written(group_folder, existing):
    existing().start()
    folder = Layout(str(group_folder), "tiny").server
    assert mode(folder) == 0o700
    assert mode(folder / "api_key") == 0o600


@needs_root
def test_a_folder_of_another_user_is_refused(group_folder, existing):
    folder = Layout(str(group_folder), "tiny").server
    folder.mkdir(parents=True)
    os.chown(folder, ANOTHER_USER, ANOTHER_USER)
    for start in (LeaseKeeper(folder).start, existing().start):
        with pytest.raises(ConfigError, match="belongs to another user, who could read the key in it; set another"):
            start()
    assert list(folder.iterdir()) == []


@needs_root
def test_a_forged_file_counts_as_missing_and_is_named_once(server_folder, publish, caplog):
    files, asked = ServerFiles(server_folder), {"request_id": "request"}
    lease = LeaseKeeper(server_folder)
    lease.start()
    server = publish("http://10.0.0.66:8000")
    endpoint.write_key(server_folder, "the user's key")
    generation_key.write(server_folder, server, "a key")
    write_json(files.request, asked)
    write_run_record(server_folder, {"server_needed": True, "slurm": None})
    readers = [
        lambda: endpoint.read(server_folder, 0),
        lambda: endpoint.read_all(server_folder),
        lambda: endpoint.read_key(server_folder),
        lambda: generation_key.read(server_folder, server),
        lambda: start_request.superseded(server_folder, "another"),
        lambda: read_run_record(server_folder),
        lambda: live_lease(server_folder),
    ]
    assert all(read() for read in readers)
    lease.release()
    assert LeaseWatch(server_folder, 60).end_reason() == "the driver stopped the run"
    forged = [files.endpoint(0), files.api_key, files.generation_key(0), files.request, files.run, files.lease]
    for path in forged:
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
    server_files._warn_of_foreign_file.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert not any(read() for read in readers)
            assert LeaseWatch(server_folder, 60).end_reason() is None
    assert sorted(record.args[0] for record in caplog.records) == sorted(map(str, forged))
    assert "is ignored, since it belongs to user 65534" in caplog.text


@needs_root
def test_the_users_key_is_not_sent_to_a_forged_address(images, scripted, publish, server_folder, jobs):
    """A member of the group replaces the endpoint of an existing server by that of a server of his own."""
    images.add("a.png")
    endpoint.write_key(server_folder, "the user's key")
    publish(scripted.url)
    os.chown(ServerFiles(server_folder).endpoint(0), ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(ServerDeadError):
        ChunkRun(jobs(changes={"client": {"server_wait_s": 0.5}})[0]).run()
    assert scripted.requests == []


@needs_root
def test_a_folder_that_another_user_closed_holds_no_run_of_ours(server_folder, start_python):
    ServerFiles(server_folder).make_folder()
    write_json(ServerFiles(server_folder).lease, {})
    server_folder.parent.chmod(0o755)
    looking = start_python(
        "import os, sys; from pathlib import Path\n"
        "from captionqa.run.lease import live_lease\n"
        "from captionqa.server import endpoint\n"
        "os.chdir(sys.argv[1])\n"
        "os.setuid(65534)\n"
        "print(live_lease(Path('server')), endpoint.read_all(Path('server')))\n",
        server_folder.parent,
    )
    said, errors = looking.communicate(timeout=60)
    assert said == "None []\n", errors
