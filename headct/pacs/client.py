"""A connection to a DICOMweb service: credentials from the environment, and each error in one line.

No message holds what libraries say of an error: their texts hold the whole URL, with the patient's number.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headct.pacs.address import service_url
from tools.core.errors import InputError
from tools.core.extras import extra_packages

with extra_packages("DICOMweb"):
    import requests
    from dicomweb_client.api import DICOMwebClient

__all__ = ["PASSWORD", "TOKEN", "USER", "Pacs"]

USER, PASSWORD, TOKEN = "HEADCT_DICOMWEB_USER", "HEADCT_DICOMWEB_PASSWORD", "HEADCT_DICOMWEB_TOKEN"
TIMEOUT_S = (20, 120)  # to connect, and between two pieces of an answer
WORDS = {
    400: "a request that it does not take",
    404: "nothing of this name",
    409: "a refusal to store it",
    413: "a refusal, as it is too large",
    429: "too many requests",
}


class Pacs:
    """A DICOMweb service.

    Certificates are verified, against those of `REQUESTS_CA_BUNDLE` where it is set.

    Args:
        address: see `headct.pacs.address`. Who asks is told by the environment: `HEADCT_DICOMWEB_TOKEN`, or
            `HEADCT_DICOMWEB_USER` and `HEADCT_DICOMWEB_PASSWORD`, else by `~/.netrc`, else nobody.

    Attributes:
        url: for messages.
        client: of dicomweb-client; to be used within `answering`.

    Raises:
        InputError: the address cannot be one, or a user without a password.
    """

    def __init__(self, address: str) -> None:
        self.url = service_url(address)
        for library in ("dicomweb_client", "urllib3"):  # their messages hold whole URLs
            logging.getLogger(library).setLevel(logging.CRITICAL)
        session = requests.Session()
        session.auth = _credentials()
        self.client = DICOMwebClient(self.url, session, timeout=TIMEOUT_S)
        self.client.set_http_retry_params(retry=False)

    @contextmanager
    def answering(self, task: str) -> Iterator[None]:
        """Around a request: what goes wrong becomes one line.

        Args:
            task: what was to be done, for the message.

        Raises:
            InputError: no service, no permission, no such thing, or an answer that is none.
        """
        try:
            yield
        except InputError:
            raise
        except requests.exceptions.HTTPError as error:
            raise InputError(self._refusal(task, getattr(error.response, "status_code", 0))) from None
        except requests.exceptions.SSLError:
            raise InputError(
                f"{self.url}: expected a certificate that can be verified, found none: REQUESTS_CA_BUNDLE in "
                "the environment names a file of certificates to trust"
            ) from None
        except requests.exceptions.ConnectionError as error:
            found = (
                "the connection broken" if "Connection aborted" in str(error) else "no server that answers"
            )
            raise InputError(f"{self.url}: expected an answer while {task}, found {found}") from None
        except requests.exceptions.Timeout:
            raise InputError(f"{self.url}: expected an answer while {task}, found none in time") from None
        except requests.exceptions.ChunkedEncodingError:
            raise InputError(
                f"{self.url}: expected an answer while {task}, found the connection broken"
            ) from None
        except Exception as error:  # dicomweb-client and pydicom raise many on answers that are none
            raise InputError(
                f"{self.url}: expected an answer of DICOMweb while {task}, found something else "
                f"({type(error).__name__})"
            ) from None

    def _refusal(self, task: str, status: int) -> str:
        if status in (401, 403):
            given = TOKEN if os.environ.get(TOKEN) else USER if os.environ.get(USER) else ""
            found = f"those of {given} refused" if given else f"none in {USER}, {PASSWORD} or {TOKEN}"
            return (
                f"{self.url}: expected credentials that the server accepts while {task}, found {found} "
                f"(status {status})"
            )
        found = WORDS.get(status, "the server failing" if status >= 500 else "a refusal")
        return f"{self.url}: expected an answer of DICOMweb while {task}, found {found} (status {status})"


class _Bearer(requests.auth.AuthBase):
    """A token; as `auth`, so that no entry of netrc takes its place, and no other host is told it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _credentials() -> Any:
    """Of the environment; None lets requests look into netrc."""
    token, user, password = (os.environ.get(name, "") for name in (TOKEN, USER, PASSWORD))
    if token:
        return _Bearer(token)
    if bool(user) != bool(password):
        there, missing = (USER, PASSWORD) if user else (PASSWORD, USER)
        raise InputError(f"{missing}: expected it in the environment beside {there}, found nothing")
    return (user, password) if user else None
