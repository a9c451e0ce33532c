"""The address of a DICOMweb service as it is typed, and what it must not hold."""

from __future__ import annotations

from urllib.parse import urlsplit

from tools.core.errors import InputError

__all__ = ["PREFIX", "is_address", "service_url"]

PREFIX = "dicomweb+"


def is_address(text: str) -> bool:
    """Whether a text is meant as an address, and no path."""
    return "://" in text


def service_url(address: str) -> str:
    """The URL of the service at an address such as `dicomweb+https://host:8042/dicom-web`.

    Raises:
        InputError: another scheme, no host, a wrong port, a query, or a user's name or password in it, which
            would stay in the history of the shell; the message does not repeat them.
    """
    expected = "expected an address such as dicomweb+https://host/dicom-web"
    try:
        parts = urlsplit(address[len(PREFIX) :] if address.lower().startswith(PREFIX) else address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"{PREFIX}...: {expected}, found a host or port that cannot be one") from None
    if "@" in address:
        raise InputError(
            f"{PREFIX}{parts.scheme}://...: expected no user or password in the address, found them: "
            "put them into HEADCT_DICOMWEB_USER and HEADCT_DICOMWEB_PASSWORD of the environment, or into "
            "~/.netrc"
        )
    known = address.lower().startswith(PREFIX) and parts.scheme in ("http", "https")
    if not known or not host:
        raise InputError(f"{address}: {expected}, found {'no host' if known else 'another scheme'}")
    if parts.query or parts.fragment:
        raise InputError(
            f"{PREFIX}{parts.scheme}://{parts.netloc}{parts.path}: {expected}, found a `?` or `#` after it: "
            "choose studies by --study, --patient-id or --date-range"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
