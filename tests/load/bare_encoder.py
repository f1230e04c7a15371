"""The encoder alone: what the site has embedded for an owner, again in threads of one process and nothing else.

    python -m tests.load.bare_encoder OWNER THREADS

Run by tests.load.ingest in the environment of its site; prints a line of JSON.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import django

django.setup()

from django.conf import settings  # noqa: E402

from documents.models import Chunk  # noqa: E402
from processing.parts import parts  # noqa: E402
from processing.writing import embedding_text  # noqa: E402
from ragsite.encoder.build import ensure_model  # noqa: E402
from ragsite.encoder.model import load_model  # noqa: E402
from ragsite.encoder.models import model_spec  # noqa: E402


def embedded_texts(owner: str) -> list[str]:
    """What stands for the owner's chunks at the encoder."""
    found = []
    for chunk in Chunk.objects.filter(owner__username=owner):
        spans = parts(chunk.text, chunk.kind, chunk.language, settings.EMBEDDED_PARTS)
        found += [embedding_text(chunk.title, chunk.headings, chunk.text[start:end]) for start, end in spans]
    return found


def main(owner: str, threads: str) -> None:
    spec = model_spec(settings.EMBEDDING_MODEL)
    model = load_model(spec, ensure_model(spec.name, settings.LAYOUT.models_dir))
    texts = embedded_texts(owner)
    model.embed(texts[0], "passage")
    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(int(threads)) as pool:
        tokens = sum(count for _, count in pool.map(lambda text: model.embed(text, "passage"), texts))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "texts": len(texts), "tokens": tokens}))


if __name__ == "__main__":
    main(*sys.argv[1:])
