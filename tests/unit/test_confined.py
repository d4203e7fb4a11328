"""The process that foreign bytes are worked on in: what it may not, and that it still works."""

import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from contrib.demo_past import _pdf
from gateway.archive import confined
from gateway.web import hypertext, pictures


def worked(body: str) -> subprocess.CompletedProcess[bytes]:
    """A process confined as foreign bytes are, that does something else in place of the work."""
    script = (
        "import os, socket, subprocess, sys, types\n"
        "from gateway.archive import confined\n"
        "made = types.ModuleType('made')\n"
        "made.prepare = lambda: None\n"
        f"def work(data):\n    {body}\n    return b'done'\n"
        "made.work = work\n"
        "sys.modules['made'] = made\n"
        "confined.main('made', 5)\n"
    )
    return subprocess.run([sys.executable, "-c", script], input=b"x", capture_output=True)


def test_it_works() -> None:
    assert worked("pass").stdout == b"done"


@pytest.mark.parametrize(
    "body",
    [
        "open('/etc/passwd').read()",
        "open('/tmp/made-by-confined', 'w')",
        "socket.socket()",
        "subprocess.run(['/bin/true'])",
        "bytearray(1 << 30)",
    ],
)
def test_it_opens_no_file_no_socket_no_process_and_has_little_memory(body: str) -> None:
    done = worked(body)
    assert done.returncode != 0
    assert done.stdout == b""


def test_pdfs_pictures_and_hypertext_need_no_more() -> None:
    text = confined.run("gateway.archive.pdf", _pdf(["Rosewood, heartwood"]), seconds=10)
    assert text is not None
    assert b"Rosewood, heartwood" in text
    assert hypertext.confined("<p>Tusks <b>under</b> tea</p>") is not None
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        picture = BytesIO()
        Image.new("RGB", (400, 300), "#b02020").save(picture, kind)
        with Image.open(BytesIO(pictures.preview(picture.getvalue()))) as made:
            assert made.size == (320, 240)
