"""The calls of the Hugging Face hub that publishing and loading need, on this machine.

It keeps what it is sent as the hub does: files of weights and images as large files by their
sha256, others in the commit itself; what is stored but in no commit is in no repository.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

LARGE = (".safetensors", ".png")
TOKEN = "hf_secret"


class Visit(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def _route(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.visits.append(f"{self.command} {self.path.partition('?')[0]}")
        for pattern, status in self.server.refusals.items():
            if re.search(pattern, self.server.visits[-1]):
                return self.answer(status, {"error": "not today"})
        for pattern, respond in ROUTES.items():
            if found := re.fullmatch(pattern, self.server.visits[-1]):
                return respond(self, **found.groupdict())
        return self.answer(404, {"error": f"no such call: {self.server.visits[-1]}"})

    do_GET = do_HEAD = do_POST = do_PUT = _route

    def answer(self, status: int, record: Any = None, data: bytes = b"", **headers: str) -> None:
        data = data if record is None else json.dumps(record).encode()
        self.send_response(status)
        kind = "application/octet-stream" if record is None else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), **headers}
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Hub(ThreadingHTTPServer):
    """Repositories by name; each is a list of commits, (id, files by path), newest last."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.repositories: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.stored: dict[str, bytes] = {}  # large files by sha256
        self.visits: list[str] = []
        self.tokens: set[str | None] = set()  # of calls that write
        self.refusals: dict[str, int] = {}  # pattern of a visit -> status
        self.messages: list[str] = []  # of commits
        self.says_commits = True
        self.doubts: list[str] = []  # about cards

    def handle_error(self, *_: object) -> None:
        pass  # a client that goes away is not worth a traceback

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        """Add a commit; its id."""
        commits = self.repositories.setdefault(name, [])
        before = commits[-1][1] if commits else {}
        commit = hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()
        commits.append((commit, {**before, **files}))
        return commit

    def files(self, name: str) -> dict[str, bytes]:
        """Those of the newest commit."""
        return self.repositories[name][-1][1]


def _resolve(visit: Visit, name: str, revision: str, file: str) -> None:
    commits = visit.server.repositories.get(name)
    if commits is None:
        return visit.answer(404, {"error": "none"}, X_Error_Code="RepoNotFound")
    wanted = [each for each in commits if revision in ("main", each[0])]
    if not wanted:
        return visit.answer(404, {"error": "none"}, X_Error_Code="RevisionNotFound")
    commit, files = wanted[-1]
    named = {"X_Repo_Commit": commit} if visit.server.says_commits else {}
    if file not in files:
        return visit.answer(404, {"error": "none"}, X_Error_Code="EntryNotFound", **named)
    return visit.answer(200, data=files[file], ETag=f'"{len(files[file])}"', **named)


def _writing(visit: Visit) -> Any:
    """The JSON of a call that writes; None, and an answer, without the token."""
    token = visit.headers.get("Authorization")
    visit.server.tokens.add(token)
    if token != f"Bearer {TOKEN}":
        return visit.answer(401, {"error": "who are you?"})
    return json.loads(visit.body)


def _create(visit: Visit) -> None:
    if (asked := _writing(visit)) is None:
        return None
    name = f"{asked['organization']}/{asked['name']}"
    if name in visit.server.repositories:
        return visit.answer(409, {"error": "exists", "url": f"{visit.server.url}/{name}"})
    visit.server.commit(name, {".gitattributes": b""})
    return visit.answer(200, {"url": f"{visit.server.url}/{name}"})


def _about(visit: Visit, name: str) -> None:
    """What older versions of the library ask before they commit."""
    if (commits := visit.server.repositories.get(name)) is None:
        return visit.answer(404, {"error": "none"}, X_Error_Code="RepoNotFound")
    record = {"id": name, "sha": commits[-1][0], "private": False, "xetEnabled": False}
    numbers = {"downloads": 0, "likes": 0, "tags": [], "siblings": []}
    return visit.answer(200, {**record, **numbers})


def _validate(visit: Visit) -> None:
    visit.answer(200, {"errors": [], "warnings": [{"message": w} for w in visit.server.doubts]})


def _preupload(visit: Visit, name: str) -> None:
    if (asked := _writing(visit)) is not None:
        modes = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for each in asked["files"]
        ]
        visit.answer(200, {"files": modes})


def _batch(visit: Visit, name: str) -> None:
    if (asked := _writing(visit)) is not None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{visit.server.url}/store/{each['oid']}"}}}
            for each in asked["objects"]
        ]
        visit.answer(200, {"transfer": "basic", "objects": objects})


def _store(visit: Visit, oid: str) -> None:
    assert hashlib.sha256(visit.body).hexdigest() == oid
    visit.server.stored[oid] = visit.body
    visit.answer(200, {})


def _commit(visit: Visit, name: str) -> None:
    if visit.headers.get("Authorization") != f"Bearer {TOKEN}":
        return visit.answer(401, {"error": "who are you?"})
    files = {}
    for line in map(json.loads, visit.body.splitlines()):
        value = line["value"]
        if line["key"] == "header":
            visit.server.messages.append(value["summary"])
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        else:
            files[value["path"]] = visit.server.stored[value["oid"]]
    commit = visit.server.commit(name, files)
    url = f"{visit.server.url}/{name}/commit/{commit}"
    return visit.answer(200, {"commitUrl": url, "commitOid": commit})


NAME = r"(?P<name>[^/]+/[^/]+?)"
ROUTES = {
    rf"(GET|HEAD) /{NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)": _resolve,
    r"POST /api/repos/create": _create,
    r"POST /api/validate-yaml": _validate,
    rf"GET /api/models/{NAME}(/revision/main)?": _about,
    rf"POST /api/models/{NAME}/preupload/main": _preupload,
    rf"POST /{NAME}\.git/info/lfs/objects/batch": _batch,
    r"PUT /store/(?P<oid>[0-9a-f]{64})": _store,
    rf"POST /api/models/{NAME}/commit/main": _commit,
}


@contextlib.contextmanager
def a_hub(patch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that huggingface_hub asks in this process, with a token that may write."""
    from huggingface_hub import constants, file_download

    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "ENDPOINT", hub.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setenv("HF_TOKEN", TOKEN)
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
