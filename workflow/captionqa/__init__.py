"""captionqa: caption image folders and answer visual questions with a vision-language model behind a vLLM server.

Data flows one way: chunk -> request -> journal -> chunk result -> merge -> report. Nothing in this package knows of
the workflow engine that calls it, but for the command `captionqa run`, which starts it.

The package has eleven rooms on common ground. A module imports from the ground, from its own room and from rooms
above it in this list; tests/unit/test_rooms.py sees to it.

    ground      errors, files, external_sort, list_text, reasoning, shown_text, threads: importing nothing of it
    config/     the checked configuration, what of it decides an answer, prompts, and where every file is
    grading/    which letter or value a model's words commit to, and whether it is the ground truth
    dataset/    images and questions: finding, checking, reading and encoding them, and the plan of chunks
    run/        one run: its lease, its jobs' logs, times and progress
    server/     the vLLM server: starting, supervising, publishing and ending it, locally and on Slurm
    client/     a chunk's client job: requests, retries, concurrency, the journal and the chunk's result
    results/    merging chunk results into final files; comparing them, and asking again
    export/     final results in the formats of other programs
    page/       the page that shows the results with their images
    push/       the results onto a hub, with a card
    driver/     what the main process does around the jobs, and what it says to the person at the terminal
"""

from pathlib import Path

__version__ = "0.1.0"
#: This package's folder, the workflow folder around it and the checkout around that. Only here are parents counted, so
#: that a module finds them wherever in the package it is.
PACKAGE = Path(__file__).resolve().parent
WORKFLOW = PACKAGE.parent
CHECKOUT = WORKFLOW.parent
