"""What an input counts by that is named by a URL: what its server says, not its text alone."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from databacked.storage.looks import stat_of

KINDS = ("file", "http", "https", "s3", "gs", "gcs", "az", "abfs", "sftp", "memory")
"""Kinds of URLs that name inputs; anything else with ``://`` is text."""

PATIENCE = 20.0
"""Seconds that a server gets to answer."""

_URL = re.compile(rf"(?:{'|'.join(KINDS)})://", re.IGNORECASE)
_SAYS = ("ETag", "etag", "md5", "content_hash", "LastModified", "last_modified", "mtime", "size")
"""What file systems of fsspec say of a file that changes with it."""


def is_url(text: str) -> bool:
    """Whether a text is a URL of a known kind."""
    return _URL.match(text) is not None


def url_token(url: str) -> str:
    """Return what an input counts by: its last name, and what its server says of its content.

    That is its etag, else its time and size. A server that says nothing, or does not answer, leaves
    a token that says so: the item that needs it fails by itself, with the reason.
    """
    name = PurePosixPath(urlsplit(url).path).name
    try:
        said = _says(url)
    except (OSError, ImportError, ValueError) as error:
        return f"url:{name}:{type(error).__name__}"
    return f"url:{name}:{said or url}"


def _says(url: str) -> str:
    from urllib.request import Request, url2pathname, urlopen  # heavy, and seldom needed

    parts = urlsplit(url)
    match parts.scheme.lower():
        case "file":
            return "{}:{}".format(*stat_of(url2pathname(parts.path)))
        case "http" | "https":
            with urlopen(Request(url, method="HEAD"), timeout=PATIENCE) as answer:
                head = answer.headers
            etag = head.get("ETag")
            return etag or " ".join(filter(None, (head["Last-Modified"], head["Content-Length"])))
        case _:
            from fsspec.core import url_to_fs

            system, path = url_to_fs(url)
            found: dict[str, Any] = system.info(path)
            return " ".join(f"{key}={found[key]}" for key in _SAYS if found.get(key) is not None)
