"""The jobs on the same images are started together: a chunk of all styles and of the questions before the next one."""

import re

import pytest
from projects import draw_image


@pytest.mark.slow
def test_a_chunk_of_all_that_share_its_images_begins_before_the_next_one(project):
    for number in range(20, 60):
        draw_image(project.folder / "images" / f"{number}.png", number)
    project.config["captions"] |= {"prompt_styles": ["SIMPLE", "SHORT", "LONG"], "chunks": 3}
    project.config["qa"]["chunks"] = 3
    project.run("--cores", "6")  # a group of four, and not a half of the next one
    started_at_once = re.split(r"^Execute \d+ jobs\.\.\.$", project.log(), flags=re.MULTILINE)
    order = [chunk for jobs in started_at_once for chunk in sorted(re.findall(r"wildcards: .*\bchunk=(\d+)", jobs))]
    assert order == [str(number) for number in range(3) for _ in range(4)]
    assert not list((project.out / "work" / project.model / "positions").glob("*"))
