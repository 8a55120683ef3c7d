"""captionqa: caption image folders and answer visual questions with a vision-language model behind a vLLM server.

Data flows one way: chunk -> request -> journal -> chunk result -> merge -> report. Nothing in this package knows of
the workflow engine that calls it.
"""

from pathlib import Path

__version__ = "0.1.0"
#: This package's folder, the workflow folder around it and the checkout around that. Only here are parents counted, so
#: that a module finds them wherever in the package it is.
PACKAGE = Path(__file__).resolve().parent
WORKFLOW = PACKAGE.parent
CHECKOUT = WORKFLOW.parent
