"""Uploads that break off before a real site: what was received counts or nothing stays, whoever is killed."""

import hashlib
import http.client
import json
import os
import signal
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ragsite.layout import Layout
from tests.instance import Instance, descendants, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
MB = 1 << 20
CONTENT = b"".join(hashlib.sha256(bytes([number])).hexdigest().encode() * 4096 + b"\n" for number in range(24))


@pytest.fixture(scope="module")
def site(built_model, layout):
    with tempfile.TemporaryDirectory(prefix="ragsite-") as parent:
        data = Path(parent) / "var"
        data.mkdir(mode=0o700)
        (data / "models").symlink_to(layout.models_dir.resolve())
        instance = Instance(data)
        try:
            instance.wait_until_ready()
            instance.token = instance.manage("create_token", "ada", "--create", "--name", "test").stdout.strip()
            yield instance
        finally:
            instance.end()


def call(site, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Authorization": f"Bearer {site.token}", **named})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def begin(site, length):
    answer, _ = call(site, "POST", "/api/v1/uploads", Tus_Resumable="1.0.0", Upload_Length=str(length))
    assert answer.status == 201
    return urlsplit(answer.headers["Location"]).path


def offset(site, path):
    answer, _ = call(site, "HEAD", path, Tus_Resumable="1.0.0")
    return int(answer.headers["Upload-Offset"])


def half_sent(site, head, content):
    """A connection on which the head of a request was sent and a part of its body."""
    connection = socket.create_connection(("127.0.0.1", site.port))
    connection.sendall(head.encode() + content)
    return connection


def patch_head(site, path, length):
    return (
        f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {site.token}\r\nTus-Resumable: 1.0.0\r\n"
        f"Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )


def temporary(site):
    return [path for path in Layout(site.folder).uploads_dir.iterdir() if path.suffix != ".tus"]


def stored(site):
    return [path for path in Layout(site.folder).files_dir.rglob("*") if path.is_file()]


def kill_web(site):
    web = site.pid_of("web")
    for pid in {web, *descendants(web)}:
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: site.pid_of("web") not in {0, web} and site.status("/readyz") == 200), site.lines


def test_a_resumable_upload_goes_on_after_its_web_process_was_killed_in_the_middle_of_a_part(site):
    path = begin(site, len(CONTENT))
    connection = half_sent(site, patch_head(site, path, len(CONTENT)), CONTENT[: 2 * MB])
    assert until(lambda: offset(site, path) >= 2 * MB - 256 * 1024)
    kill_web(site)
    connection.close()
    reached = offset(site, path)
    assert 2 * MB - 256 * 1024 <= reached <= 2 * MB
    sent = {"Tus_Resumable": "1.0.0", "Content_Type": "application/offset+octet-stream"}
    answer, content = call(site, "PATCH", path, CONTENT[reached:], **sent, Upload_Offset=str(reached))
    assert answer.status == 204, content
    document = answer.headers["Upload-Document"]
    _, original = call(site, "GET", f"/api/v1/documents/{document}/file")
    assert original == CONTENT
    assert call(site, "DELETE", f"/api/v1/documents/{document}")[0].status == 204
    assert until(lambda: stored(site) == [])


def test_a_connection_that_hangs_in_a_part_keeps_nobody_from_going_on(site):
    path = begin(site, len(CONTENT))
    hanging = half_sent(site, patch_head(site, path, len(CONTENT)), CONTENT[:MB])
    assert until(lambda: offset(site, path) == MB)
    sent = {"Tus_Resumable": "1.0.0", "Content_Type": "application/offset+octet-stream"}
    answer, content = call(site, "PATCH", path, CONTENT[MB:], **sent, Upload_Offset=str(MB))
    assert answer.status == 204, content
    hanging.sendall(CONTENT[MB : 2 * MB])
    hanging.close()
    document = answer.headers["Upload-Document"]
    assert call(site, "GET", f"/api/v1/documents/{document}/file")[1] == CONTENT
    call(site, "DELETE", f"/api/v1/documents/{document}")


def multipart(site, path, length, extra=""):
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{extra}Content-Type: multipart/form-data; boundary=b\r\n"
        f'Content-Length: {length}\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    )


def session(site):
    """The headers of a signed-in browser."""
    site.manage("shell", "-v0", "-c", "from ragsite.accounts.models import User; u = User.objects.get(username='ada'); "
                "u.set_password('a long enough phrase'); u.save()")  # fmt: skip
    answer, content = call(site, "GET", "/accounts/login/")
    token = answer.headers["Set-Cookie"].split("csrftoken=")[1].split(";")[0]
    form = content.decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    body = f"csrfmiddlewaretoken={form}&login=ada&password=a+long+enough+phrase"
    kind = {"Content_Type": "application/x-www-form-urlencoded", "Cookie": f"csrftoken={token}"}
    answer, _ = call(site, "POST", "/accounts/login/", body, **kind)
    cookies = [value.split(";")[0] for name, value in answer.headers.items() if name == "Set-Cookie"]
    held = {cookie.split("=")[0]: cookie for cookie in [f"csrftoken={token}", *cookies]}
    csrf = held["csrftoken"].split("=")[1]
    return f"Cookie: {'; '.join(held.values())}\r\nX-CSRFToken: {csrf}\r\n"


@pytest.mark.parametrize("way", ["REST", "form"])
def test_a_request_that_breaks_off_leaves_nothing(site, way):
    if way == "REST":
        head = multipart(site, "/api/v1/documents", 50 * MB, f"Authorization: Bearer {site.token}\r\n")
    else:
        head = multipart(site, "/library/upload/", 50 * MB, session(site))
    connection = half_sent(site, head, CONTENT)
    assert until(lambda: len(temporary(site)) == 1)
    connection.close()
    assert until(lambda: temporary(site) == [])
    assert stored(site) == []
    _, listed = call(site, "GET", "/api/v1/documents")
    assert json.loads(listed)["results"] == []


def test_a_request_whose_web_process_is_killed_leaves_nothing_for_the_sweep_to_find_twice(site):
    head = multipart(site, "/api/v1/documents", 50 * MB, f"Authorization: Bearer {site.token}\r\n")
    connection = half_sent(site, head, CONTENT)
    assert until(lambda: len(temporary(site)) == 1)
    kill_web(site)
    connection.close()
    left = temporary(site)
    assert len(left) == 1  # nobody was there to remove it
    os.utime(left[0], (0, 0))
    sweep = "from documents.sweeping import sweep_files; sweep_files()"
    assert site.manage("shell", "-v0", "-c", sweep).returncode == 0
    assert temporary(site) == []
    assert stored(site) == []
