"""The machine's embedding model: made once by ``build``, served by ``python -m ragsite.encoder``, asked by ``client``.

Knows nothing of Django: the server is a small process of its own, and the client takes what it needs as arguments.
"""
