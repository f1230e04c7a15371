"""The embedding models that this package can make and serve."""

from dataclasses import dataclass
from typing import Literal

InputType = Literal["query", "passage"]

DEFAULT_MODEL = "multilingual-e5-small"
E5_PREFIXES: dict[InputType, str] = {"query": "query: ", "passage": "passage: "}
"""e5 was trained with these before every text; without them its rankings get worse."""


class UnknownModel(ValueError):
    """The name belongs to no model that this package knows."""


class ModelDamaged(RuntimeError):
    """A model's files are there but cannot be read."""


@dataclass(frozen=True)
class ModelSpec:
    """What must be known of a model to make its files and to run it."""

    name: str
    dimensions: int
    max_tokens: int
    """How many ids the model reads, its two special ones included; what is longer is cut."""
    tokenizer_file: str
    prefixes: dict[InputType, str]


MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec("multilingual-e5-small", 384, 512, "spm.model", E5_PREFIXES),
        # sentence-transformers cuts MiniLM's texts at 256 tokens too: it was trained on shorter ones
        ModelSpec("all-MiniLM-L6-v2", 384, 256, "tokenizer.json", {"query": "", "passage": ""}),
    )
}


def model_spec(name: str) -> ModelSpec:
    """The model of this name; raises UnknownModel with the names there are."""
    try:
        return MODELS[name]
    except KeyError:
        raise UnknownModel(f"No model is called {name!r}; there are {', '.join(MODELS)}.") from None
