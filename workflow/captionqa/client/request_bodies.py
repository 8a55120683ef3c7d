"""The bodies of one request: with all of its images, or with the identities of those that a server holds."""

from collections.abc import Mapping, Sequence

from captionqa.client.chat_request import ChatRequest, Images
from captionqa.client.request_body import Body


class RequestBodies:
    """Made when first needed, and kept for further attempts. Belongs to one thread."""

    def __init__(self, request: ChatRequest, parameters: Mapping[str, float]):
        self._request = request
        self._parameters = parameters
        self._made: dict[Images, Body] = {}

    @property
    def uuids(self) -> Sequence[str]:
        """The identities of all images; none where one has none."""
        return self._request.uuids

    def is_unchanged(self) -> bool:
        """Whether the files that the server was to read are still those that the client read."""
        return all(reference.is_unchanged() for reference in self._request.references)

    def get(self, images: Images) -> Body:
        """The body with its images in this form.

        Raises ItemFailure where images that were to be sent by their identities alone cannot be read any more.
        """
        if images not in self._made:
            if images is not Images.NAMES_ALONE:
                self._request = self._request.whole()
            self._made[images] = self._request.body(self._parameters, images)
        return self._made[images]
