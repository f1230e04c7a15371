"""From text to the ids that a model reads."""

from pathlib import Path
from typing import Protocol

from ragsite.encoder.models import InputType, ModelSpec

CHARACTERS_PER_TOKEN = 40
"""No token is longer: what stands behind so many characters is cut before it is read, whoever sends it."""


class TokenizerUnavailable(RuntimeError):
    """A library that the model's tokenizer needs is not installed."""


class Tokenizer(Protocol):
    """Texts in any language, whatever characters they contain."""

    def ids(self, text: str, input_type: InputType) -> list[int]:
        """What the model reads: prefix, text and special tokens, cut to the model's length."""
        ...

    def count(self, text: str) -> int:
        """The tokens of the text alone, uncut."""
        ...


def load_tokenizer(spec: ModelSpec, folder: Path) -> Tokenizer:
    """The tokenizer of a model that has been built; raises TokenizerUnavailable."""
    kind = SentencePieceTokenizer if spec.tokenizer_file == "spm.model" else WordPieceTokenizer
    return kind(spec, folder / spec.tokenizer_file)


def _encodable(text: str) -> str:
    """JSON can carry halves of surrogate pairs, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def _prepared(spec: ModelSpec, text: str, input_type: InputType) -> str:
    return _encodable(spec.prefixes[input_type] + text.strip()[: spec.max_tokens * CHARACTERS_PER_TOKEN])


class SentencePieceTokenizer:
    """XLM-R's way: ``<s> … </s>``."""

    BEGIN, END = 0, 2

    def __init__(self, spec: ModelSpec, path: Path) -> None:
        import sentencepiece

        self._spec = spec
        self._processor = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def ids(self, text: str, input_type: InputType) -> list[int]:
        pieces: list[int] = self._processor.encode(_prepared(self._spec, text, input_type))
        return [self.BEGIN, *pieces[: self._spec.max_tokens - 2], self.END]

    def count(self, text: str) -> int:
        return len(self._processor.encode(_encodable(text)))


class WordPieceTokenizer:
    """BERT's way, from a tokenizer.json."""

    def __init__(self, spec: ModelSpec, path: Path) -> None:
        try:
            from tokenizers import Tokenizer as JsonTokenizer
        except ImportError:
            raise TokenizerUnavailable(
                f"The model {spec.name} needs the package tokenizers: pip install -r requirements-minilm.txt"
            ) from None
        self._spec = spec
        self._tokenizer = JsonTokenizer.from_file(str(path))
        self._tokenizer.no_padding()  # the file pads to 128 tokens and cuts there
        self._tokenizer.no_truncation()

    def ids(self, text: str, input_type: InputType) -> list[int]:
        ids: list[int] = self._tokenizer.encode(_prepared(self._spec, text, input_type)).ids
        return ids if len(ids) <= self._spec.max_tokens else [*ids[: self._spec.max_tokens - 1], ids[-1]]

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(_encodable(text), add_special_tokens=False).ids)
