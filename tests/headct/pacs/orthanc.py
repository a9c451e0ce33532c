"""Orthanc, a free PACS, started on loopback; and a wire to it that can break."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

USER, PASSWORD = "headct-test", "Xk29-wrong-horse"
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")


class Orthanc:
    """A server, and its own REST interface beside DICOMweb, by which tests look at what it holds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.address = f"dicomweb+http://127.0.0.1:{port}/dicom-web"
        self._session = requests.Session()
        self._session.auth = (USER, PASSWORD)

    def get(self, path: str) -> Any:
        answer = self._session.get(f"http://127.0.0.1:{self.port}{path}", timeout=30)
        answer.raise_for_status()
        return answer.content if path.endswith("/file") else answer.json()

    def upload(self, folder: Path) -> None:
        for file in sorted(folder.rglob("*.dcm")):
            url = f"http://127.0.0.1:{self.port}/instances"
            self._session.post(url, data=file.read_bytes(), timeout=30).raise_for_status()

    def clear(self) -> None:
        for patient in self.get("/patients"):
            self._session.delete(f"http://127.0.0.1:{self.port}/patients/{patient}", timeout=30)

    def objects(self, modality: str) -> list[bytes]:
        """The files of all instances of a modality."""
        series = [self.get(f"/series/{name}") for name in self.get("/series")]
        return [
            self.get(f"/instances/{instance}/file")
            for one in series
            if one["MainDicomTags"]["Modality"] == modality
            for instance in one["Instances"]
        ]


def start(folder: Path) -> Iterator[Orthanc]:
    """Orthanc with its DICOMweb plugin and one user; the test is skipped where it is not installed."""
    program = shutil.which("Orthanc") or shutil.which("orthanc")
    plugin = next((Path(p, "libOrthancDicomWeb.so") for p in PLUGINS if Path(p).is_dir()), None)
    if program is None or plugin is None or not plugin.exists():
        pytest.skip("Orthanc with its DICOMweb plugin is not installed (Debian: orthanc orthanc-dicomweb)")
    port = free_port()
    configuration = {
        "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "HttpPort": port, "DicomServerEnabled": False, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}, "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Ssl": False},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    server = Orthanc(port)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                server.get("/system")
                break
            except requests.exceptions.ConnectionError:
                assert time.monotonic() < end, (folder / "orthanc.log").read_text()[-3000:]
                assert process.poll() is None, (folder / "orthanc.log").read_text()[-3000:]
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Wire:
    """A port that leads to another: encrypted with a certificate, or cut after so many bytes of answers."""

    def __init__(self, port: int, most: float = float("inf"), certificate: Path | None = None) -> None:
        self._to, self._left = port, most
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Nothing goes through from now on."""
        self._left = 0
        self.close()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                if self._context is not None:
                    near = self._context.wrap_socket(near, server_side=True)
            except ssl.SSLError:
                continue  # who does not trust the certificate goes away
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            for pair, counted in (((near, far), False), ((far, near), True)):
                threading.Thread(target=self._copy, args=(*pair, counted), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if counted:
                    self._left -= len(data)
                    if self._left < 0:
                        break
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def certificate(folder: Path) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, file = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", file],
        check=True, capture_output=True, env={**os.environ, "RANDFILE": str(folder / "random")},
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + file.read_bytes())
    return both
