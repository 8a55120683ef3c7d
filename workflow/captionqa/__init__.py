"""captionqa: caption image folders and answer visual questions with a vision-language model behind a vLLM server.

Data flows one way: chunk -> request -> journal -> chunk result -> merge -> report. Nothing in this package knows of
the workflow engine that calls it.
"""

__version__ = "0.1.0"
