"""How an answer comes about: retrieve → prompt → generate → cite → stream, apart from the request that asked for it.

An answer is produced by a thread of its own in the process that was asked. What it writes goes as events into a log in
memory, which readers in that process follow, and through one flusher per process into a stream in Valkey, which any
other process can follow. docs/decisions/0001-web-workers-and-streams.md has the reasons and figures.
"""
