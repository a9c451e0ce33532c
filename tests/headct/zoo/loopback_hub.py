"""A folder as a model of the Hugging Face Hub, on this machine: the part of its interface that downloads use.

Paths, keys and headers are those that the package huggingface_hub asks for and reads. As there, a model has
a `.gitattributes`, and files that it names lie in a storage for large files, which is another host.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

ATTRIBUTES = ".gitattributes"
LARGE = (".pt", ".ts", ".onnx")


class Model:
    """What the Hub knows of a model at its only commit."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self.files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        lines = [f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE]
        self.files[ATTRIBUTES] = "".join(lines).encode()
        self.large = {hashlib.sha256(d).hexdigest(): d for p, d in self.files.items() if p.endswith(LARGE)}
        self.commit = hashlib.sha1("".join(map(self.blob, self.files)).encode()).hexdigest()

    def blob(self, path: str) -> str:
        """Git's name of a file's content."""
        data = self.files[path]
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def api(self) -> dict[str, object]:
        """Answers by path."""
        api = f"/api/models/{self.name}"
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": self.commit}
        siblings = [{"rfilename": path} for path in self.files]
        information = {"id": self.name, "sha": self.commit, "private": False, "siblings": siblings}
        return {
            f"{api}/refs": {"branches": [branch], "converts": [], "tags": []},
            f"{api}/revision/main": information,
            f"{api}/revision/{self.commit}": information,
            f"{api}/tree/{self.commit}": [self._entry(path) for path in self.files],
        }

    def _entry(self, path: str) -> dict[str, object]:
        data = self.files[path]
        entry = {"type": "file", "path": path, "size": len(data), "oid": self.blob(path)}
        if path.endswith(LARGE):
            pointer = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 132}
            entry["lfs"] = pointer
        return entry


class Handler(BaseHTTPRequestHandler):
    """Answers for the server's `model`, and notes each answer in its `log`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        status, headers, body = self._found(unquote(urlsplit(self.path).path))
        self.server.log.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        model, port = self.server.model, self.server.server_port
        if path in model.api():
            return 200, {"Content-Type": "application/json"}, json.dumps(model.api()[path]).encode()
        start, digest = f"/{model.name}/resolve/{model.commit}/", path.removeprefix("/storage/")
        if digest in model.large:
            return 200, {"ETag": f'"{digest}"'}, model.large[digest]
        name = path.removeprefix(start)
        if not path.startswith(start) or name not in model.files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        data, headers = model.files[name], {"X-Repo-Commit": model.commit}
        if not name.endswith(LARGE):
            return 200, {**headers, "ETag": f'"{model.blob(name)}"'}, data
        digest = hashlib.sha256(data).hexdigest()
        headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        return 302, {**headers, "Location": f"http://localhost:{port}/storage/{digest}"}, b""

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""


@contextmanager
def served(name: str, folder: Path) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """The address of a Hub with this model, and its log: method, path and status of each answer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.model, server.log = Model(name, folder), []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.log
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
