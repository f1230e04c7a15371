"""An embedding model in memory."""

import ctypes
from pathlib import Path
from threading import Thread

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ragsite.encoder.build import MODEL_FILE
from ragsite.encoder.models import InputType, ModelDamaged, ModelSpec
from ragsite.encoder.tokenizer import Tokenizer, load_tokenizer

Vector = NDArray[np.float32]


class EmbeddingModel:
    """Turns one text at a time into a vector; any number of threads may do so at once.

    One text at a time and one thread a text: batches pad, and several threads in one text wait for each other. Two
    threads on two cores make 50 texts of 256 tokens a second so, 42 with both in one text. Texts of one length side by
    side would need no padding, but share a scale when they are rounded: a vector must not depend on its companions.
    """

    def __init__(self, spec: ModelSpec, session: onnxruntime.InferenceSession, tokenizer: Tokenizer) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self._session = session

    def embed(self, text: str, input_type: InputType) -> tuple[Vector, int]:
        """The text's vector, of length 1, and how many tokens were read."""
        ids = self.tokenizer.ids(text, input_type)
        return self.embed_ids(ids), len(ids)

    def embed_ids(self, ids: list[int]) -> Vector:
        """The vector of what the tokenizer made."""
        vector: Vector = self._session.run(None, {"input_ids": np.array([ids], dtype=np.int64)})[0][0]
        return vector / np.linalg.norm(vector)


def load_model(spec: ModelSpec, folder: Path) -> EmbeddingModel:
    """The model of a folder that ``build`` made; raises TokenizerUnavailable and ModelDamaged."""
    session: list[onnxruntime.InferenceSession] = []
    # side by side with the tokenizer, each takes 0.3 s
    loading = Thread(target=lambda: session.append(_load_session(folder / MODEL_FILE)))
    loading.start()
    tokenizer = load_tokenizer(spec, folder)
    loading.join()
    if not session:
        raise ModelDamaged(f"{folder / MODEL_FILE} cannot be read: delete {folder} and build the model again.")
    _give_back_freed_memory()
    return EmbeddingModel(spec, session[0], tokenizer)


def _give_back_freed_memory() -> None:
    """Loading leaves 45 MB behind that glibc keeps; other C libraries have no such function."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass


def _load_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # higher levels fuse into operators that are slower (SkipLayerNormalization alone: by a quarter)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would keep a plan for every length of text: 330 instead of 280 MB
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
