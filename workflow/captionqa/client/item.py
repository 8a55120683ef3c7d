"""An item of a chunk: the texts and images of one request, and the mark by which the journal recognises them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from captionqa.client.chat_request import ChatRequest
from captionqa.client.decoding_notes import DecodingNotes
from captionqa.client.image_part import ImagePart
from captionqa.client.image_transport import ImageTransport
from captionqa.client.item_file import ItemFile, content_digest, whole_digest
from captionqa.client.journal import FileMark, ItemMark
from captionqa.client.known_images import KnownImage, KnownImages
from captionqa.config.prompts import place_captions, place_images, question_text, without_marks
from captionqa.config.repeats import sample_seed
from captionqa.config.settings import AnswerSettings, caption_prompt, image_budget_px, sends_text_alone
from captionqa.dataset.changed_files import ChangedFiles
from captionqa.dataset.gray_picture import gray_picture
from captionqa.dataset.image_encoding import EncodedImage, encode_image, is_new_picture
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.question_repeats import question_of
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:
    from captionqa.client.question_captions import QuestionCaptions

T = TypeVar("T")
#: The failures by which a server shows that it cannot decode an image.
DAMAGE_SHOWS_AS = (Reason.REQUEST_REJECTED, Reason.SERVER_ERROR)
#: Follows a file's digest where it is sent as another picture than by versions before `DECODING_VERSION` 2.
NEW_PICTURE = ".2"


class Item:
    """One item of a chunk's list. Belongs to one thread at a time."""

    def __init__(
        self,
        entry: ItemEntry,
        settings: AnswerSettings,
        sources: ImageSources,
        transport: ImageTransport,
        changed: ChangedFiles,
        notes: DecodingNotes,
        captions: "QuestionCaptions | None" = None,
        known: KnownImages | None = None,
    ):
        """A file that is not as planned is added to `changed`; `captions` are asked about in place of images.

        Only with `known` do images have identities, and are not read where all servers hold them.

        Raises ItemFailure where an image is missing or outside of the data set, or has no caption.
        """
        names = entry.get("images", [entry["id"]])
        self.id = entry["id"]
        self.question = entry.get("question")
        self.choices_added = entry.get("choices")
        self._sample = entry.get("sample", 1)
        self._settings = settings
        self._transport = transport
        self._notes = notes
        self._known = known
        self._is_gray = settings.get("context") == "gray"
        self._text = self._asked_text(len(names)) if "judged" not in entry else self._judged_text(entry)
        self._files: list[ItemFile] = []
        if sends_text_alone(settings):
            self._text = self._text_without_images(names, captions)
            return
        find = sources.find if "images" in entry else sources.find_file
        self._files = [
            ItemFile.find(name, find, stamp, changed) for name, stamp in zip(names, entry["stamps"], strict=True)
        ]

    def matches(self, line: ItemMark, first_answer: str | None = None) -> bool:
        """Whether a journal line is about the same prompt and files and, for a fallback, the same first answer.

        Reads a file only where its stamp changed. Raises ItemFailure where that file cannot be read.
        """
        marks = line["files"]
        return (
            line["prompt"] == self._prompt_digest(first_answer)
            and len(marks) == len(self._files)
            and all(self._file_matches(file, mark) for file, mark in zip(self._files, marks, strict=True))
        )

    def request(self, max_tokens: int) -> ChatRequest:
        """The item's request; reads the files that some server does not hold.

        Raises ItemFailure where an image cannot be sent or is missing.
        """
        content = self._placed([self._image_part(file) for file in self._files])
        seed = sample_seed(self._settings["sampling"], self._sample) if self._sample > 1 else None
        system, schema = self._settings.get("system_prompt", ""), self._settings.get("schema", "")
        return ChatRequest(content, max_tokens, system=system, schema=schema, seed=seed)

    def check_marks(self) -> None:
        """Raise ItemFailure where the text has a mark for an image that the item does not have."""
        self._placed(self._files)

    def damage_behind(self, failure: ItemFailure) -> ItemFailure | None:
        """The damaged image that made a server reject the request, if there is one.

        Only now the images are decoded to their end.
        """
        if failure.reason not in DAMAGE_SHOWS_AS:
            return None
        try:
            for file in self._files:
                self._decode(file)
        except ItemFailure as damage:
            return damage if damage.reason is Reason.UNREADABLE_IMAGE else None
        return None

    def mark(self, first_answer: str | None = None) -> ItemMark:
        """What a journal line says of the item; its files have to be read or matched before."""
        return {
            "id": self.id,
            "prompt": self._prompt_digest(first_answer),
            "files": [file.mark() for file in self._files],
        }

    def key(self) -> tuple[str, ...]:
        """Equal for items whose requests are identical: texts, files of equal content in the same order, and seed."""
        return (*request_key(self.mark()), *([f"sample {self._sample}"] if self._sample > 1 else []))

    def image_names(self) -> tuple[str, ...]:
        """The references of its images in their order, as the item list has them."""
        return tuple(file.name for file in self._files)

    def planned_bytes(self) -> int:
        """The bytes of the files that its images are in."""
        return sum(file.planned[0] for file in self._files if file.planned is not None)

    def is_held_somewhere(self) -> bool:
        """Whether some server holds each of its images as it was last read."""
        budget_px, known = self._budget_px(), self._known
        return known is not None and all(known.is_held_somewhere(file.name, budget_px) for file in self._files)

    def digests(self) -> list[str]:
        """The digests of the files' contents, in their order."""
        return [file.digest for file in self._files]

    def stamps(self) -> list[list[int] | None]:
        """The planned stamps of the files that are sent."""
        return [file.planned for file in self._files]

    def _asked_text(self, images: int) -> str:
        if self.question is None:
            return caption_prompt(self._settings, images)
        return question_text(self.question, self._settings.get("instruction"))

    def _judged_text(self, entry: ItemEntry) -> str:
        from captionqa.config.judge_config import judge_text  # felt at the start of a job, and most do not judge

        told = entry["judged"]
        fields = {"choices": told["choices"], "ground_truth": told["ground_truth"], "answer": told["answer"]}
        return judge_text(self._settings["judge_prompt"], {"question": entry["question"], **fields})

    def _text_without_images(self, names: Sequence[str], captions: "QuestionCaptions | None") -> str:
        """The text with captions in place of the images, or with nothing where there are no captions."""
        if captions is None:
            return without_marks(self._text)
        found = [captions.of(name, question_of(self.id), len(names)) for name in names]
        try:
            return place_captions(self._text, found, self._settings["caption_template"])
        except ValueError as error:
            raise ItemFailure(Reason.MISSING_IMAGE, str(error)) from error

    def _placed(self, images: Sequence[T]) -> list[str | T]:
        """The texts and the images of the message in their order."""
        if sends_text_alone(self._settings):
            return [self._text]  # a caption may hold a mark
        try:
            return place_images(self._text, images)
        except ValueError as error:
            raise ItemFailure(Reason.MISSING_IMAGE, str(error)) from error

    def _image_part(self, file: ItemFile) -> ImagePart:
        known = None
        if self._known is not None and file.planned is not None:
            known = self._known.held(file.name, self._budget_px(), (file.planned[0], file.planned[1]))
        if known is None or not file.is_still(known):
            return self._read_part(file)
        return ImagePart(None, uuid=known.uuid, make=lambda: self._read_again(file))

    def _read_again(self, file: ItemFile) -> ImagePart:
        """The image in bytes: what the server reads of a file is checked only where the request begins with that."""
        file.digest = ""  # of now: the file may be another, or gone
        return self._read_part(file, may_refer=False).whole()

    def _read_part(self, file: ItemFile, may_refer: bool = True) -> ImagePart:
        with _failures_named(file):
            image = self._encoded(file, file.read, decode=False)
            if self._is_gray:
                image = gray_picture(image)
                file.digest = content_digest(image.data)
            elif image.is_new:
                file.digest += NEW_PICTURE
            path = file.source.file() if may_refer else None
            reference = None if path is None else self._transport.reference_to(path, file.stamp())
            if self._known is None:
                return ImagePart.of(image, reference)
            content = file.content if image.is_untouched else whole_digest(image.data)
            if reference is None and self._known.is_held(content):
                part = ImagePart(None, uuid=content, make=lambda: ImagePart.of(image, None, content))
            else:
                part = ImagePart.of(image, reference, content)
            if (stamp := file.stamp()) is not None and part.uuid is not None:
                self._known.add(file.name, self._budget_px(), KnownImage(stamp, file.digest, part.uuid))
            return part

    def _file_matches(self, file: ItemFile, mark: FileMark) -> bool:
        """Whether a mark is about the picture that would be sent for the file now."""
        if file.matches_unread(mark):
            return True
        name, _, digest = mark
        if name != file.name and file.source.is_named():
            return False
        if self._is_gray:
            self._image_part(file)
            return digest == file.digest
        with _failures_named(file):
            is_new = self._in_hand(
                file,
                file.read,
                # the same bytes, which an earlier version may have sent as another picture
                lambda data, begin: (
                    digest == file.digest and is_new_picture(data, self._settings["images"], self._budget_px(), begin)
                ),
            )
        if digest == file.digest:
            return not is_new
        if digest == file.digest + NEW_PICTURE:
            file.digest = digest
            return True
        return False

    def _decode(self, file: ItemFile) -> None:
        """Raise ItemFailure where an image cannot be decoded to its end; its digest stays that of what was sent."""
        with _failures_named(file):
            self._encoded(file, lambda: file.source.read()[0], decode=True)

    def _encoded(self, file: ItemFile, read: Callable[[], bytes], decode: bool) -> EncodedImage:
        return self._in_hand(
            file,
            read,
            lambda data, begin: encode_image(data, self._settings["images"], self._budget_px(), decode, begin),
        )

    def _in_hand(
        self, file: ItemFile, read: Callable[[], bytes], use: Callable[[bytes, Callable[[int], None]], T]
    ) -> T:
        """What comes of an image's bytes and of what to call before it is decoded, which is `Decoding.begin`.

        A large file is read only once there is memory for it; any other at once, since many may come slowly.
        """
        ahead = file.bytes_ahead(self._budget_px)
        data = b"" if ahead else read()
        with self._notes.decoding(file.key(), ahead) as begin:
            return use(data or read(), begin)

    def _budget_px(self) -> int | None:
        return image_budget_px(self._settings, len(self._files))

    def _prompt_digest(self, first_answer: str | None) -> str:
        text = self._text if first_answer is None else f"{self._text}\0{first_answer}"
        # a model's output may hold half of a surrogate pair
        return content_digest(text.encode("utf-8", "surrogatepass"))


def request_key(mark: ItemMark) -> tuple[str, ...]:
    """The key of an item's request, from its mark."""
    return mark["prompt"], *(digest for _, _, digest in mark["files"])


@contextmanager
def _failures_named(file: ItemFile) -> Iterator[None]:
    """Add where the image is, as the data set has it, to a failure."""
    try:
        yield
    except ItemFailure as failure:
        raise ItemFailure(failure.reason, f"{file.source.described()}: {failure.detail}") from failure
