"""The Hugging Face hub: one commit of files to a data set repository. Endpoint and token are huggingface_hub's own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from captionqa.errors import CaptionqaError

TOKENS = "`hf auth login`, or HF_TOKEN"
#: What a reply of the hub means, by its HTTP status.
REFUSALS = {
    401: f"does not accept the token; give one that may write: {TOKENS}",
    403: "does not let this token write there; give the token write access to it, or name another owner",
    404: "has no such owner or repository, or this token may not see it; look at the part before the /",
}


class HubError(CaptionqaError):
    """The hub cannot be used."""


def check_repo_id(repo_id: str) -> None:
    """Check the name of a repository, without a request; raises HubError."""
    from huggingface_hub import errors
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported without a mark

    try:
        validate_repo_id(repo_id)
    except errors.HFValidationError as error:
        raise HubError(
            f"{repo_id!r} cannot be the name of a repository: give OWNER/NAME, each of letters, digits, -, _ and . "
            "and 96 characters at most."
        ) from error


def commit(repo_id: str, files: Mapping[str, Path | bytes], message: str, private: bool) -> str:
    """Create the data set repository if it is not there, add the files in one commit, and return the commit's address.

    `files` are {path in the repository: content}. Files of the repository that are not among them stay.

    Raises:
        HubError: there is no token, the hub refuses or cannot be reached, or a repository that was to be private is
            public; then nothing was added.
    """
    import huggingface_hub

    check_repo_id(repo_id)
    with _errors_said(repo_id):
        if huggingface_hub.get_token() is None:
            raise HubError(f"there is no token for {_endpoint()}; give one that may write: {TOKENS}.")
        api = huggingface_hub.HfApi()
        repo = api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True).repo_id
        if private and not api.dataset_info(repo).private:
            raise HubError(
                f"{repo} is there already and public, so nothing was pushed; make it private in its settings, or leave "
                "out --private."
            )
        additions = [huggingface_hub.CommitOperationAdd(name, content) for name, content in files.items()]
        added = api.create_commit(repo, additions, commit_message=message, repo_type="dataset")
    return str(added.commit_url)


@contextmanager
def _errors_said(repo_id: str) -> Iterator[None]:
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        said = REFUSALS.get(status) or f"says {_one_line(error.server_message or str(error))}"
        raise HubError(f"{repo_id} was not pushed: {_endpoint()} {said} (HTTP {status}).") from error
    except (httpx2.HTTPError, ConnectionError, TimeoutError) as error:
        raise HubError(
            f"{repo_id} was not pushed: {_endpoint()} cannot be reached ({_one_line(str(error))}); is there a network, "
            "and is HF_ENDPOINT right?"
        ) from error
    except (RuntimeError, ValueError) as error:  # as of a proxy's page, or of the upload's own
        raise HubError(f"{repo_id} was not pushed: {_one_line(f'{type(error).__name__}: {error}')}") from error


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
