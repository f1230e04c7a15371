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
    threads on two cores make 50 texts of 256 tokens a second so, 42 with both in one text.
    """

    def __init__(self, spec: ModelSpec, session: onnxruntime.InferenceSession, tokenizer: Tokenizer) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self._session = session
        self._inputs = {value.name for value in session.get_inputs()}

    def embed(self, text: str, input_type: InputType) -> tuple[Vector, int]:
        """The text's vector, of length 1, and how many tokens were read."""
        ids = self.tokenizer.ids(text, input_type)
        return self.embed_ids(ids), len(ids)

    def embed_ids(self, ids: list[int]) -> Vector:
        """The vector of what the tokenizer made."""
        output: Vector = self._session.run(None, self._feeds(np.array([ids], dtype=np.int64)))[0][0]
        # e5's graph ends in one vector; MiniLM's in one a token, the mean of which is the text's
        vector = output if output.ndim == 1 else output.mean(axis=0)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def _feeds(self, ids: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return {name: feeds[name] for name in self._inputs}


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
    # higher levels fuse e5 into operators that are slower, and gain nothing for MiniLM
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would keep a plan for every length of text: 330 instead of 280 MB
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
