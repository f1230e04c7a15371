"""The server process: ``python -m ragsite.encoder --socket PATH``."""

import argparse
import ipaddress
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from types import FrameType

from ragsite.encoder.build import ensure_model
from ragsite.encoder.models import DEFAULT_MODEL, MODELS, ModelDamaged, UnknownModel, model_spec
from ragsite.encoder.packages import PackageUnavailable
from ragsite.encoder.tokenizer import TokenizerUnavailable
from ragsite.layout import Layout

BACKLOG = 512
KEEP_ALIVE_SECONDS = 75
"""Longer than the client keeps a connection that rests, so that it never sends on one that is being closed."""


DRAIN_SECONDS = 20
"""On a port others serve who comes now, and what has come is finished. On a socket all wait for the next server."""


class CannotStart(RuntimeError):
    """What the person who started the server must change."""


def main() -> int:
    """The command; returns only when it cannot start."""
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, _stop_at_once)
    options = _parser().parse_args()
    try:
        spec = model_spec(options.model)
        folder = ensure_model(spec.name, options.models or Layout.from_environment().models_dir)
        api_key = os.environ.get("EMBEDDING_API_KEY", "")
        listener = _listen(options, api_key)
        _serve(options.model, folder, options.threads, listener, "" if options.socket else api_key)
    except (CannotStart, UnknownModel, ModelDamaged, PackageUnavailable, TokenizerUnavailable, OSError) as error:
        print(f"The encoder cannot start: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ragsite.encoder", description="Serve an embedding model.")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--socket", type=Path, help="listen on this Unix socket, which only its owner may use")
    place.add_argument("--port", type=int, help="listen on a port, guarded by EMBEDDING_API_KEY")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address of --port; other than loopback with RAGSITE_ALLOW_HTTP=on"
    )
    parser.add_argument("--model", default=os.environ.get("EMBEDDING_MODEL") or DEFAULT_MODEL, help=", ".join(MODELS))
    parser.add_argument("--models", type=Path, help="folder of the models (default: models/ of the data folder)")
    parser.add_argument("--threads", type=_positive, default=_cores(), help="texts at once (default: the cores)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _listen(options: argparse.Namespace, api_key: str) -> socket.socket:
    """The listening socket, made before the model is loaded: who comes early waits instead of being refused."""
    return _listen_unix(options.socket) if options.socket else _listen_tcp(options.host, options.port, api_key)


def _listen_unix(path: Path) -> socket.socket:
    if _answers(path):
        raise CannotStart(f"another one listens on {path}.")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o177)
    try:
        listener.bind(str(draft))
    finally:
        os.umask(previous)
    listener.listen(BACKLOG)
    draft.rename(path)  # takes the place of what a killed server left behind
    return listener


def _answers(path: Path) -> bool:
    """Whether a live process listens on the socket; anything that is not a socket is not replaced."""
    if not path.exists():
        return False
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise CannotStart(f"{path} is not a socket.")
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _listen_tcp(host: str, port: int, api_key: str) -> socket.socket:
    if not ipaddress.ip_address(host).is_loopback and not _trusts_network():
        raise CannotStart(
            f"{host} is not a loopback address: texts and the key would travel unencrypted. "
            "RAGSITE_ALLOW_HTTP=on allows it in a network that is trusted."
        )
    if not api_key:
        raise CannotStart("a port needs EMBEDDING_API_KEY: others can connect to it.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _trusts_network() -> bool:
    return os.environ.get("RAGSITE_ALLOW_HTTP", "").lower() in {"on", "true", "1", "yes"}


def _serve(model: str, folder: Path, threads: int, listener: socket.socket, api_key: str) -> None:
    # imported now, so that wrong options are told at once
    import uvicorn

    from ragsite.encoder.model import load_model
    from ragsite.encoder.server import create_app

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if listener.family == socket.AF_UNIX:
                _stop_at_once(sig, frame)
            super().handle_exit(sig, frame)

    app = create_app(load_model(model_spec(model), folder), threads, api_key)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    print(f"{model} is served with {threads} threads.", flush=True)
    Server(config).run(sockets=[listener])


def _stop_at_once(signal_number: int, frame: FrameType | None) -> None:
    """There is nothing to save, and who waits for an answer asks the next server."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
