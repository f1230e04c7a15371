"""Where files live: Django's storage API, on the local disk or, by configuration, in an S3-compatible service."""

import errno
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

S3_OPTIONS = {"endpoint_url", "region_name", "addressing_style", "signature_version"}


class StorageUnavailable(OSError):
    """The storage cannot be reached or refuses: worth another try. An OSError, as a local disk's faults are."""

    def __init__(self, detail: str) -> None:
        super().__init__(errno.EIO, detail)


def storage_from_url(url: str, local: dict[str, Any]) -> dict[str, Any]:
    """An entry of Django's STORAGES: ``s3://bucket/prefix?endpoint_url=…&region_name=…``, or the local one for ``""``.

    Keys come from where Amazon's tools look for them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine's
    role). Raises ValueError for what is none of both.
    """
    if not url:
        return local
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not parts.hostname or options.keys() - S3_OPTIONS or parts.username:
        raise ValueError("s3://bucket/prefix, and after a ? any of: " + ", ".join(sorted(S3_OPTIONS)))
    place = {"bucket_name": parts.hostname, "location": unquote(parts.path).strip("/")}
    return {"BACKEND": "ragsite.s3.SiteS3Storage", "OPTIONS": {**place, **options}}
