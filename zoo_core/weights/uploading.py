"""Upload a folder to the Hugging Face hub, as one commit, with the hub's own library.

All that can be refused is refused before anything is sent. Files are stored before the commit that
names them, so a repository has all of a publication or nothing of it.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo_core.errors import InputError, OfflineError, UploadError
from zoo_core.weights.hub import is_offline
from zoo_core.weights.repositories import REGISTRY, Repository

NEEDED = "uploading needs huggingface_hub"


def check_upload(repository: Repository) -> None:
    """Raise unless the hub would take a publication: OfflineError without a connection or its
    library, InputError without a token or for a repository with weights, UploadError otherwise.
    """
    if repository.revision:
        address = f"hf://{repository.name}"
        raise InputError("a publication begins no revision", hint=f"--to {address}")
    constants, api = _library()
    if is_offline() or constants.HF_HUB_OFFLINE:
        variable = "ZOO_OFFLINE" if is_offline() else "HF_HUB_OFFLINE"
        raise OfflineError(
            f"nothing can be uploaded while {variable} is set", hint=f"unset {variable}"
        )
    if not api.token:
        raise InputError("the hub needs a token to write", hint="hf auth login, or set HF_TOKEN")
    with _explained(repository):
        is_taken = api.file_exists(repository.name, REGISTRY, repo_type="model")
    if is_taken:
        raise InputError(
            f"hf://{repository.name} holds weights already, and published weights stay as they are",
            hint="--to hf://OWNER/OTHER_REPO",
        )


def upload(folder: Path, repository: Repository, message: str) -> str:
    """Commit the files of a folder to a repository, made if need be; the commit. Raises UploadError
    if the hub does not take them: then none of them is in the repository.
    """
    _, api = _library()
    with _explained(repository), _quiet():
        api.create_repo(repository.name, repo_type="model", exist_ok=True)
        done = api.upload_folder(
            repo_id=repository.name,
            repo_type="model",
            folder_path=folder,
            commit_message=message,
        )
    return str(done.oid)


def _library() -> tuple[Any, Any]:
    """The settings of huggingface_hub, and its API with the user's token."""
    try:
        from huggingface_hub import HfApi, constants, get_token
    except ImportError:
        raise OfflineError(NEEDED, hint="pip install 'zoo-core[hub]'") from None
    return constants, HfApi(endpoint=constants.ENDPOINT, token=get_token() or False)


@contextlib.contextmanager
def _explained(repository: Repository) -> Iterator[None]:
    """Turn what the library raises, which may be anything, into an UploadError of one line."""
    try:
        yield
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        told = getattr(error, "server_message", None) or str(error)
        answered = f"it answered {status}" if status else type(error).__name__
        hint = "hf auth login with a token that may write there" if status in (401, 403) else ""
        raise UploadError(
            f"the hub did not take hf://{repository.name}: {answered} ({told[:200]})", hint=hint
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Draw no bars, and say as our own warnings what the library warns of, such as a bad card."""
    from huggingface_hub import utils

    shown = not utils.are_progress_bars_disabled()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if shown:
            utils.disable_progress_bars()
        try:
            yield
        finally:
            if shown:
                utils.enable_progress_bars()
    for each in said:
        if issubclass(each.category, UserWarning):  # others are for its authors
            logging.getLogger("zoo").warning("the hub: %s", " ".join(str(each.message).split()))
