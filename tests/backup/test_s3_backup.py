"""A site whose files are in an S3-compatible service, restored into another bucket, and to a disk."""

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.test import override_settings

from documents.models import Document
from ragsite.files import storage_from_url

boto3 = pytest.importorskip("boto3", reason="no boto3: pip install -r requirements-s3.txt")
moto_server = pytest.importorskip("moto.server", reason="no moto: pip install -r requirements-dev.txt")
pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def bucket(monkeypatch, settings):
    """``bucket(name)``: settings that keep files there."""
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    def stores(name):
        boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket=name)
        url = f"s3://{name}/site?endpoint_url={address}&region_name=us-east-1"
        return override_settings(STORAGES={**settings.STORAGES, "default": storage_from_url(url, {})})

    yield stores
    server.stop()


def test_files_go_from_one_bucket_to_another_and_to_a_disk(owner, upload, bucket, tmp_path, empty_place):
    with bucket("first"):
        document = upload(owner, "The alpaca eats grass.")
        call_command("backup", str(tmp_path / "b"))
    with empty_place(), bucket("second"):
        default_storage.save("mine", ContentFile(b"x"))
        with pytest.raises(CommandError, match="holds mine"):
            call_command("restore", str(tmp_path / "b"))
        default_storage.delete("mine")
        call_command("restore", str(tmp_path / "b"))
        assert default_storage.open(Document.objects.get().file.name).read() == b"The alpaca eats grass."
    with empty_place() as place:
        call_command("restore", str(tmp_path / "b"))
        assert (place / "files" / document.file.name).read_bytes() == b"The alpaca eats grass."
