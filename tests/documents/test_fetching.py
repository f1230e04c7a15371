"""Files from web addresses: of the public internet only, whatever names and redirects say, within limits.

Servers are real ones on this machine's loopback, allowed through the setting; addresses that are not allowed are never
connected to.
"""

import ipaddress
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from documents.importing import addresses, fetching
from documents.importing.models import Import
from documents.importing.running import run_next
from documents.models import Document
from documents.services import UploadRefused

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@contextmanager
def serving(answer):
    """A web server whose answers are ``answer(handler)``; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                answer(self)
            except OSError:  # the other side had enough
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page(content=b"Water is wet.", status=200, **headers):
    """An answer with this content."""

    def answer(handler):
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture
def allowed(settings):
    """This machine may be fetched from, at any port."""
    settings.IMPORT_NETWORKS = LOOPBACK
    settings.IMPORT_PORTS = range(1, 65_536)
    settings.IMPORT_SECONDS = 20
    return settings


@pytest.fixture
def target(tmp_path):
    with (tmp_path / "fetched").open("w+b") as file:
        yield file


def refusal(address, target):
    with pytest.raises(UploadRefused) as refused:
        fetching.fetch(address, target)
    return refused.value.code


def read(target):
    target.flush()
    target.seek(0)
    return target.read()


@pytest.mark.django_db
def test_what_lies_at_an_address_becomes_a_document(owner, api, allowed):
    with serving(page(b"# Water\n\nIt is wet.", Content_Type="text/markdown")) as site:
        client = api(owner)
        begun = client.post("/api/v1/documents/import", {"url": f"{site}/notes/water.md?x=1"}, format="json")
        assert begun.status_code == 202
        assert run_next()
    told = client.get(begun["Location"]).json()
    assert (told["status"], told["created"], told["kind"]) == ("done", 1, "address")
    document = Document.objects.get()
    assert (document.filename, document.content_type) == ("water.md", "text/markdown")


@pytest.mark.django_db
def test_what_cannot_be_had_fails_with_a_reason_and_leaves_nothing(owner, api, settings):
    client = api(owner)
    begun = client.post("/api/v1/documents/import", {"url": "http://127.0.0.1/secret"}, format="json")
    assert run_next()
    told = client.get(begun["Location"]).json()
    assert (told["status"], told["error"]["code"]) == ("failed", "forbidden_address")
    assert "private network" in told["error"]["detail"]
    assert not Document.objects.exists()
    assert Import.objects.get().items.count() == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "192.0.0.8", "198.18.0.1", "168.63.129.16", "203.0.113.5",
        "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "fd12::1", "ff02::1", "fec0::1", "2001:db8::1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "5f00::1", "100::1",
    ],
)  # fmt: skip
def test_private_addresses_are_not_allowed(address):
    assert not addresses.is_allowed(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_public_ones_are(address):
    assert addresses.is_allowed(address)


def test_an_allowed_network_of_ones_own_is_too(settings):
    settings.IMPORT_NETWORKS = [ipaddress.ip_network("10.1.0.0/16")]
    assert addresses.is_allowed("10.1.2.3")
    assert not addresses.is_allowed("10.2.2.3")


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "localhost", "[::1]", "[::ffff:7f00:1]"])
def test_other_spellings_of_this_machine_are_seen_through(host, target):
    assert refusal(f"http://{host}/", target) == "forbidden_address"


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(UploadRefused, match="private network"):
        addresses.resolve("rebind.example", 80)


def test_a_name_that_answers_otherwise_the_second_time_gains_nothing(allowed, monkeypatch, target):
    """The name is asked for once, and the connection goes to what was checked."""
    asked, connected = [], []
    real, connect = socket.getaddrinfo, socket.create_connection

    def rebinding(host, port, *args, **kwargs):
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port, *args, **kwargs)

    def watched(address, *args, **kwargs):
        connected.append(address[0])
        monkeypatch.setattr(socket, "getaddrinfo", real)  # what it does with an address in numbers asks nobody
        return connect(address, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(socket, "create_connection", watched)
    with serving(page()) as site:
        port = site.rpartition(":")[2]
        fetched = fetching.fetch(f"http://rebind.example:{port}/a.txt", target)
    assert (asked, connected) == (["rebind.example"], ["127.0.0.1"])
    assert fetched.filename == "a.txt"
    assert read(target) == b"Water is wet."


def test_redirects_are_followed_and_each_is_checked(allowed, target):
    with serving(page(b"Found.")) as end, serving(page(b"", 302, Location=f"{end}/there.txt")) as start:
        assert fetching.fetch(start, target).filename == "there.txt"
    assert read(target) == b"Found."
    for leads_to, code in [
        ("http://192.168.0.1/", "forbidden_address"),
        ("http://169.254.169.254/latest/meta-data/", "forbidden_address"),
        ("http://[::1]/", "forbidden_address"),
        ("file:///etc/passwd", "invalid_address"),
        ("gopher://127.0.0.1/", "invalid_address"),
        ("http://user:secret@127.0.0.1/", "invalid_address"),
        ("//10.0.0.1/x", "forbidden_address"),
        ("http://:99999/", "invalid_address"),
        ("http://[/", "unreachable"),
    ]:
        with serving(page(b"", 302, Location=leads_to)) as site:
            assert refusal(site, target) == code, leads_to


def test_redirects_in_a_circle_end(allowed, target):
    with serving(page(b"", 302, Location="/again")) as site:
        assert refusal(site, target) == "unreachable"


def test_other_ports_are_refused(settings, target):
    settings.IMPORT_NETWORKS = LOOPBACK
    with serving(page()) as site:
        assert refusal(site, target) == "forbidden_address"


@pytest.mark.parametrize("status", [204, 401, 404, 500, 206])
def test_any_status_but_200_is_told(allowed, target, status):
    with serving(page(b"", status)) as site:
        assert refusal(site, target) == "unreachable"


def test_a_body_that_says_to_be_too_large_is_not_read(allowed, target):
    allowed.RAGSITE_MAX_UPLOAD_MB = 1
    with serving(page(b"x", Content_Length=str(5 << 20))) as site:
        assert refusal(site, target) == "too_large"
    assert read(target) == b""


def test_an_endless_body_ends_at_the_limit(allowed, target):
    allowed.RAGSITE_MAX_UPLOAD_MB = 1

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65_536)

    with serving(endless) as site:
        assert refusal(site, target) == "too_large"
    assert len(read(target)) <= 1 << 20


@pytest.mark.parametrize("where", ["headers", "body"])
def test_one_that_drips_is_ended_by_the_time_of_the_whole(allowed, target, where):
    allowed.IMPORT_SECONDS = 1
    ended = threading.Event()

    def dripping(handler):
        start = b"HTTP/1.1 200 OK\r\nX-Long: " if where == "headers" else b"HTTP/1.1 200 OK\r\n\r\n"
        handler.wfile.write(start)
        while not ended.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()

    with serving(dripping) as site:
        assert refusal(site, target) == "timeout"
        ended.set()


def test_one_that_says_nothing_is_given_up(allowed, target, monkeypatch):
    monkeypatch.setattr(fetching, "SILENCE_SECONDS", 0.3)
    ended = threading.Event()
    with serving(lambda handler: ended.wait(20)) as site:
        assert refusal(site, target) == "timeout"
        ended.set()


def test_an_answer_that_breaks_off_is_no_file(allowed, target):
    with serving(page(b"half", Content_Length="1000")) as site:
        assert refusal(site, target) == "unreachable"


def test_what_is_no_web_server_is_told(allowed, target):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert refusal(f"http://127.0.0.1:{port}/", target) == "unreachable"


def test_packed_answers_are_not_unpacked(allowed, target):
    with serving(page(b"\x1f\x8b", Content_Encoding="gzip")) as site:
        assert refusal(site, target) == "unreachable"


def test_neither_cookies_nor_credentials_nor_proxies_of_the_environment_are_used(allowed, target, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    seen = []

    def answer(handler):
        seen.append({name.lower(): value for name, value in handler.headers.items()})
        if len(seen) == 1:
            page(b"", 302, Location="/next", Set_Cookie="id=1")(handler)
        else:
            page()(handler)

    with serving(answer) as site:
        fetching.fetch(site, target)
    assert [set(headers) for headers in seen] == [{"host", "user-agent", "accept", "accept-encoding"}] * 2


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/a/b.txt", {}, "b.txt"),
        ("/", {"Content_Type": "text/html; charset=utf-8"}, "127.0.0.1.html"),
        ("/paper", {"Content_Type": "application/pdf"}, "paper.pdf"),
        ("/x", {"Content_Disposition": 'attachment; filename="../../etc/r.txt"'}, "../../etc/r.txt"),
        ("/x", {"Content_Disposition": "attachment; filename*=UTF-8''%C3%BCber.txt"}, "über.txt"),
        ("/%2e%2e%2fetc%2fpasswd", {}, "passwd"),
    ],
)
def test_the_file_is_called_as_its_server_or_its_address_says(allowed, target, path, headers, name):
    """What is in the name makes no difference: names are shown, and never become paths."""
    with serving(page(**headers)) as site:
        assert fetching.fetch(site + path, target).filename.startswith(name)
