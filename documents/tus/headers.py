"""tus's headers: what the client says of an upload."""

import base64
import binascii

from ragsite.api.problems import Problem

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration,checksum"


def whole_number(value: str | None, header: str) -> int:
    """A header's number of bytes. Raises Problem 400."""
    if value is None or not (value.isascii() and value.isdecimal()) or len(value) > 18:
        raise Problem(400, "invalid_header", f"{header} must be a whole number of bytes.")
    return int(value)


def parse_metadata(value: str) -> dict[str, str]:
    """``key base64,key base64``. Raises Problem 400."""
    found: dict[str, str] = {}
    for pair in filter(None, value.split(",")):
        name, _, encoded = pair.strip().partition(" ")
        found[name] = _decoded(encoded, "Upload-Metadata").decode("utf-8", "replace").replace("\0", "")
    return found


def parse_checksum(value: str, known: tuple[str, ...]) -> tuple[str, bytes]:
    """``sha1 base64`` as algorithm and digest. Raises Problem 400."""
    algorithm, _, encoded = value.partition(" ")
    if algorithm not in known:
        raise Problem(400, "invalid_header", f"Upload-Checksum must be of one of: {', '.join(known)}.")
    return algorithm, _decoded(encoded, "Upload-Checksum")


def _decoded(encoded: str, header: str) -> bytes:
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(400, "invalid_header", f"{header} is not in base64.") from error
