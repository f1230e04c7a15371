"""A document's file, whole and in part."""

import pytest

pytestmark = pytest.mark.django_db
CONTENT = b"0123456789"


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("", 200, CONTENT),
        ("bytes=0-", 200, CONTENT),
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-99", 200, CONTENT),
        ("bytes=8-99", 206, b"89"),
        ("bytes=1-2,4-5", 200, CONTENT),
        ("bytes=5-2", 200, CONTENT),
        ("lines=1-2", 200, CONTENT),
        ("bytes=-", 200, CONTENT),
    ],
)
def test_a_range_is_what_it_says(owner, api, upload, wanted, status, part):
    document = upload(owner, CONTENT, "ten.txt")
    headers = {"HTTP_RANGE": wanted} if wanted else {}
    answer = api(owner).get(f"/api/v1/documents/{document.id}/file", **headers)
    assert (answer.status_code, b"".join(answer.streaming_content)) == (status, part)
    assert answer["Content-Length"] == str(len(part))
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["Content-Disposition"] == 'attachment; filename="ten.txt"'


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(owner, api, upload, wanted):
    document = upload(owner, CONTENT, "ten.txt")
    answer = api(owner).get(f"/api/v1/documents/{document.id}/file", HTTP_RANGE=wanted)
    assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */10")
