"""A job's log: every error, even one of the log itself, is one sentence, and odd file names are no problem."""

from captionqa.config.layout import Layout
from captionqa.files import read_json

JOB = r"""
import logging, sys
from captionqa.errors import InputError
from captionqa.run.job_log import job_log
from captionqa.config.layout import Layout
with job_log(sys.argv[1] + "/log/job.log", "a job", Layout(sys.argv[1], "tiny")):
    logging.warning("%r is odd, caf%s too", "two\nlines", "\udce9")
    raise InputError("caf\udce9 is no good; rename it.")
"""


def test_a_name_that_is_not_utf_8_reaches_the_log_and_the_error(start_python, tmp_path):
    process = start_python(JOB, tmp_path)
    _, said = process.communicate()
    assert process.returncode == 1
    assert said == ""
    log = (tmp_path / "log" / "job.log").read_text().splitlines()
    assert len(log) == 2
    assert "'two\\nlines' is odd, caf\\udce9 too" in log[0]
    (error,) = Layout(str(tmp_path), "tiny").errors.glob("*.json")
    assert "caf\udce9 is no good" in read_json(error)["error"]


def test_a_log_for_which_there_is_no_room_is_one_sentence(start_python, tmp_path):
    no_room = "def no_room(*_, **__): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))"
    full = f"import errno, os\nfrom captionqa.run import job_log as log\n{no_room}\nlog.open = no_room\n"
    process = start_python(full + JOB, tmp_path)
    _, said = process.communicate()
    assert process.returncode == 1
    (error,) = Layout(str(tmp_path), "tiny").errors.glob("*.json")
    assert f"a job failed: the disk is full: make room in {tmp_path}" in read_json(error)["error"]
    assert "Traceback" not in said


def test_an_error_that_cannot_be_stored_is_printed(start_python, tmp_path):
    no_room = "def no_room(*_, **__): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))"
    full = f"import errno, os\nfrom captionqa.run import job_log as log\n{no_room}\nlog.write_json = no_room\n"
    process = start_python(full + JOB, tmp_path)
    _, said = process.communicate()
    assert process.returncode == 1
    assert said.startswith("captionqa: a job failed: caf\\udce9 is no good")
    assert "Traceback" not in said


def test_a_job_that_is_interrupted_says_so(start_python, tmp_path):
    raised = 'InputError("caf\\udce9 is no good; rename it.")'
    process = start_python(JOB.replace(raised, "KeyboardInterrupt"), tmp_path)
    process.communicate()
    assert process.returncode == 1
    assert (tmp_path / "log" / "job.log").read_text().endswith(" WARNING stopped: interrupted\n")
