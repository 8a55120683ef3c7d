"""`captions` of the configuration: the images, and what is asked about each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from captionqa.config.hub_record import HubRecord, local_files
from captionqa.config.qa_config import Auto, QaConfig

#: What `captions.dataset_path` is taken for.
ReadAs = Literal["auto", "images", "tables", "tars"]


@dataclass(frozen=True)
class CaptionColumnsConfig:
    """`captions.columns`: which columns of parquet and Arrow files hold what."""

    #: A column of images, or several whose images belong together.
    image: str | Sequence[str] | Auto
    #: The column of the rows' names; None where they have none.
    id: str | Auto | None
    #: The list of rows in an object of JSON.
    rows: str | None = None


@dataclass(frozen=True)
class CaptionsConfig:
    """`captions`: the images, and what is asked about each."""

    dataset_path: str
    #: The name of a known form of data sets, or the path of a user's own preset.
    preset: str | None
    read_as: ReadAs
    #: The folder that the paths in a list of images are relative to; None for that of the list.
    image_folder: str | None
    columns: CaptionColumnsConfig
    multi_image_prompt: str | None
    prompt_styles: Sequence[str]
    prompts: Mapping[str, str]
    #: The file of a JSON schema that each caption is JSON by; None for free text.
    schema: str | None
    max_tokens: int
    #: How many captions of each image in each style, by different seeds.
    samples: int
    #: How many images are captioned, or below 1 which share; None for all.
    limit: int | float | None
    chunks: int | Auto
    #: No key of the configuration: the local files of data sets of the hub.
    hub: HubRecord = field(default_factory=dict)
    #: No key of the configuration: where only the images of the questions are captioned, their folder. Then
    #: `dataset_path` is that of the questions.
    questions_root: str | None = None
    #: No key of the configuration: what is in the file `schema`, as JSON.
    schema_text: str | None = None

    @classmethod
    def of(cls, checked: Mapping[str, Any], hub: HubRecord, qa: QaConfig | None) -> Self:
        fields = {**checked, "columns": CaptionColumnsConfig(**checked["columns"]), "hub": hub}
        if checked["dataset_path"] is None and qa is not None:
            fields |= {"dataset_path": qa.dataset_path, "questions_root": qa.data_path}
        if checked["schema"] is not None and checked.get("schema_text") is None:
            from captionqa.config.caption_schema import read_schema  # jsonschema takes long to import

            fields["schema_text"] = read_schema(checked["schema"])
        return cls(**fields)

    @property
    def of_questions(self) -> bool:
        """Whether only the images that the questions name are captioned."""
        return self.questions_root is not None

    @property
    def local_path(self) -> str:
        """`dataset_path`, or its local files where it is of the hub."""
        return local_files(self.dataset_path, self.hub)

    @property
    def data_path(self) -> str:
        """The path whose `data_root` is the data folder."""
        return self.questions_root or self.image_folder or self.local_path
