"""A plain llama-index pipeline, run in a virtual environment of its own by tests.load.ingest.

    python llama_index_pipeline.py MODEL_FOLDER FOLDER

Reads the files of a folder, splits and embeds them into the index in memory, and prints a line of JSON. The splitter
is llama-index's own with the model's tokens and chunks of 220 of them: of its default of 1,024 MiniLM would read 256.
"""

import json
import resource
import sys
import time

from llama_index.core import Settings, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

CHUNK_TOKENS = 220
OVERLAP_TOKENS = 20


def main(model: str, folder: str) -> None:
    """The time begins when the model is loaded and has embedded once."""
    embedding = HuggingFaceEmbedding(model_name=model)
    embedding.get_text_embedding("warm")
    tokenizer = embedding._model.tokenizer
    Settings.llm = None
    splitter = SentenceSplitter(
        chunk_size=CHUNK_TOKENS,
        chunk_overlap=OVERLAP_TOKENS,
        tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False),
    )
    started, cpu = time.perf_counter(), time.process_time()
    documents = SimpleDirectoryReader(folder).load_data()
    nodes = splitter.get_nodes_from_documents(documents)
    VectorStoreIndex(nodes, embed_model=embedding)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "chunks": len(nodes), "peak_bytes": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
