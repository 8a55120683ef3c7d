"""The server folder: closed to other users, and what another user put there does not count."""

import dataclasses
import json
import logging
import os
import shutil
import stat
from pathlib import Path

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


@pytest.mark.slow
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
def test_a_folder_that_another_user_closed_holds_no_run_of_ours(tmp_path, start_python):
    folder = Layout(str(tmp_path / "out"), "tiny").server
    ServerFiles(folder).make_folder()
    for path in (ServerFiles(folder).lease, ServerFiles(folder).request):
        write_json(path, {})
    tmp_path.chmod(0o755)
    (tmp_path / "my.yaml").write_text("models: {tiny: {path: .}}\ncaptions: {dataset_path: .}\noutput_dir: out")
    looking = start_python(
        "import os, sys; from pathlib import Path\n"
        "from captionqa.config.check import load_config\n"
        "from captionqa.driver.planned_model import plan_model\n"
        "from captionqa.run.lease import live_lease\n"
        "from captionqa.server import endpoint\n"
        "os.chdir(sys.argv[1])\n"
        "os.setuid(65534)\n"
        "config = load_config(Path('my.yaml'))\n"
        "layout = config.layout()\n"
        "print(live_lease(layout.server), endpoint.read_all(layout.server), plan_model(config, layout).message)\n",
        tmp_path,
    )
    said, errors = looking.communicate(timeout=60)
    assert said == "None [] None\n", errors


@pytest.fixture
def swapped(server_folder):
    """A member of the group put a folder in the place of the server folder. Returns where the server folder is now."""

    def swap(owner=None, mode=0o755):
        aside = server_folder.rename(server_folder.with_name("aside"))
        server_folder.mkdir()
        server_folder.chmod(mode)
        if owner is not None:
            os.chown(server_folder, owner, owner)
        return aside

    ServerFiles(server_folder).make_folder()
    return swap


def forge(path, content):
    """Let a file of this user say something else, which its group may write: as a log under a umask of 002."""
    path.write_text(json.dumps(content))
    path.chmod(0o664)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "owner", [None, pytest.param(ANOTHER_USER, marks=needs_root)], ids=["a folder of ours", "a folder of another user"]
)
@pytest.mark.parametrize("place", [os.symlink, os.link, shutil.copy2], ids=["link", "hard link", "the file itself"])
def test_a_folder_in_the_server_folders_place_gets_no_image_and_no_word_in(
    images, stand_in, publish, server_folder, jobs, swapped, tmp_path, monkeypatch, owner, place
):
    """The forged files are logs of this user, or links to them, in which the group may write."""
    images.add("a.png")
    monkeypatch.setenv("VLLM_API_KEY", "the thief's key")  # the stand-in is the thief's server
    real = publish("http://127.0.0.1:9")
    key = {"request_id": real.request_id, "generation": real.generation, "key": "the thief's key"}
    address = {**dataclasses.asdict(real), "url": stand_in.url}
    swapped(owner, 0o755 if owner else 0o775)
    files = ServerFiles(server_folder)
    place(forge(tmp_path / "start_server.log", address), files.endpoint(0))
    place(forge(tmp_path / "server-0.log", key), files.generation_key(0))
    job = dataclasses.replace(jobs(changes={"client": {"server_wait_s": 0.5}})[0], own_servers=True)
    with pytest.raises(ServerDeadError):
        ChunkRun(job).run()
    assert stand_in.asked == []


@pytest.mark.parametrize("place", [os.symlink, os.link], ids=["link", "hard link"])
def test_not_even_in_the_folder_itself_counts_what_a_group_may_write(server_folder, publish, tmp_path, place):
    """Where the folder was open to the group before this run closed it."""
    publish("http://127.0.0.1:9")
    path = ServerFiles(server_folder).endpoint(0)
    content = json.loads(path.read_text())
    path.unlink()
    place(forge(tmp_path / "start_server.log", content), path)
    assert endpoint.read_all(server_folder) == []
    (tmp_path / "start_server.log").chmod(0o644)
    assert len(endpoint.read_all(server_folder)) == (place is os.link)


def test_a_key_behind_a_link_is_not_the_users(server_folder, swapped):
    """The key that another member cannot read, for the address that he wrote."""
    endpoint.write_key(server_folder, "the user's key")
    assert endpoint.read_key(server_folder) == "the user's key"
    aside = swapped(mode=0o700)
    os.symlink(aside / "api_key", server_folder / "api_key")
    assert endpoint.read_key(server_folder) is None


def test_the_server_folder_is_never_open_not_even_while_it_is_made(group_folder, monkeypatch):
    monkeypatch.setattr(
        Path, "chmod", lambda path, mode: pytest.fail("it was open") if path.stat().st_mode & 0o77 else 0
    )
    ServerFiles(group_folder / "work" / "tiny" / "server").make_folder()


def test_a_file_system_on_which_no_folder_can_be_closed_is_refused(group_folder, monkeypatch):
    folder = group_folder / "work" / "tiny" / "server"
    folder.mkdir(parents=True)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)
    with pytest.raises(ConfigError, match="lets other users write there, whatever its mode is set to; set another"):
        ServerFiles(folder).make_folder()
