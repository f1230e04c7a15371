"""The machine's encoder and the sandbox that reads files: programs of this project."""

import os

from ragsite.embedded.program import Program, python
from ragsite.layout import Layout

FOR_PIP = ("PIP_*", "*_proxy", "*_PROXY", "SSL_CERT_*", "REQUESTS_CA_BUNDLE")
NEEDS_OF_ENCODER = ("EMBEDDING_MODEL", "RAGSITE_BUILD_DIR", "RAGSITE_DATA_DIR", *FOR_PIP)
"""It fetches its model when that is missing. Not EMBEDDING_API_KEY: on its Unix socket it asks for none."""


def encoder_program(layout: Layout) -> Program:
    """Computes embeddings; one for the machine, because the model takes 200 MB."""
    return python("encoder", "-m", "ragsite.encoder", "--socket", str(layout.encoder_socket), needs=NEEDS_OF_ENCODER)


def model_builder(layout: Layout) -> Program:
    """Makes the encoder's model file from its package, once."""
    return python("model", "-m", "ragsite.encoder.build")


def sandbox_program(layout: Layout) -> Program:
    """Reads the files that people upload, apart from the database and from Django, and knows no secret."""
    return python("sandbox", "-m", "processing.sandbox", "--socket", str(layout.sandbox_socket), needs=())


def uses_own_encoder() -> bool:
    """Whether no other embedding service is configured."""
    return not os.environ.get("EMBEDDING_BASE_URL")
