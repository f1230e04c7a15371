"""The configured encoder: the machine's own, or any OpenAI-compatible endpoint."""

from functools import cache

from django.conf import settings

from ragsite.encoder.client import EncoderClient


def encoder() -> EncoderClient:
    """The process's client of the encoder (thread-safe, reconnects by itself)."""
    return _client()


@cache
def _client() -> EncoderClient:
    if settings.EMBEDDING_BASE_URL:
        return EncoderClient(
            base_url=settings.EMBEDDING_BASE_URL, model=settings.EMBEDDING_MODEL, api_key=settings.EMBEDDING_API_KEY
        )
    return EncoderClient(
        base_url="http://encoder/v1", model=settings.EMBEDDING_MODEL, socket=settings.LAYOUT.encoder_socket
    )
