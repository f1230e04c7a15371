"""Files in an S3-compatible service, whose faults look like those of a disk. Needs requirements-s3.txt."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3File, S3Storage

from ragsite.files import StorageUnavailable

IN_MEMORY = 1 << 20
PART = 8 << 20


@contextmanager
def _as_files() -> Iterator[None]:
    """Errors as a disk would raise them: FileNotFoundError, or StorageUnavailable."""
    try:
        yield
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            raise FileNotFoundError(str(error)) from error
        raise StorageUnavailable(str(error)) from error
    except (BotoCoreError, Boto3Error) as error:
        raise StorageUnavailable(str(error)) from error


class _File(S3File):
    """Fetched when it is first read: into memory when small, else into a temporary file."""

    def _get_file(self) -> Any:
        with _as_files():
            return super()._get_file()

    file = property(_get_file, S3File._set_file)


class SiteS3Storage(S3Storage):
    """django-storages' S3 with our limits of time and memory. Names are ids: nothing overwrites what is another's."""

    def __init__(
        self, *, addressing_style: str | None = None, signature_version: str | None = None, **options: Any
    ) -> None:
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 3, "mode": "standard"},
            signature_version=signature_version,
            s3={"addressing_style": addressing_style or "auto"},
            max_pool_connections=32,
        )
        transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=2)
        super().__init__(client_config=config, transfer_config=transfer, max_memory_size=IN_MEMORY, **options)
        self._lock, self._shared = threading.Lock(), None

    @property
    def connection(self) -> Any:
        """One for all threads: a client is safe to share and takes megabytes, which 256 threads would each need."""
        with self._lock:
            if self._shared is None:
                self._shared = super().connection
        return self._shared

    def stream(self, name: str, start: int, end: int) -> BinaryIO:
        """Bytes ``start`` to ``end`` (exclusive), as they come, without a copy on this machine's disk."""
        with _as_files():
            key = self._normalize_name(name)
            answer = self.connection.meta.client.get_object(
                Bucket=self.bucket_name, Key=key, Range=f"bytes={start}-{end - 1}"
            )
        return answer["Body"]

    def _open(self, name: str, mode: str = "rb") -> S3File:
        with _as_files():
            return _File(self._normalize_name(name), mode, self)

    def _save(self, name: str, content: Any) -> str:
        with _as_files():
            return super()._save(name, content)

    def delete(self, name: str) -> None:
        with _as_files():
            super().delete(name)

    def exists(self, name: str) -> bool:
        with _as_files():
            return super().exists(name)

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        with _as_files():
            return super().listdir(name)
