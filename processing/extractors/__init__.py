"""One module a format: a file's bytes in, an ``Extraction`` out. Pure: no Django, no network, no disk."""
