"""Threads and search results leave the archive: as mbox, and as evidence that gpg confirms."""

from __future__ import annotations

import asyncio
import json
import mailbox
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from gateway.app import open_app
from gateway.archive import exporting, indexing
from gateway.store import ledger as store_ledger
from gateway.store import member
from gateway.store.mailing_list import Purpose, own_key
from gateway.store.posting import Posting
from gateway.web.site import site
from tests.gateway import CommandFailed, short_place
from tests.unit.group import Group
from tests.unit.visitor import Visitor, browser

TEXT = "84 raw tusks under sawdust.\n\nFrom Mombasa by sea.\n"
FORMS = ("6.2", "6.1", "inline", "inline-signed")


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Mei is on a list by invitation, the others are not."""
    roles = {"ana": (), "bo": (), "mei": (), "ada": ("administrator",)}
    with Group(roles) as made:
        made.gateway.environet(
            "list", "add", "op-coral", "--letter", "OPC", "--title", "Coral",
            "--invite", made.officers["ana"].address, "--invite", made.officers["mei"].address,
        )  # fmt: skip
        made.set_list("wildlife", signed_only=True)
        yield made


@pytest.fixture(scope="module")
def bo(group: Group) -> Iterator[Visitor]:
    with browser(group) as made:
        yield made.log_in("bo")


def path(label: str) -> str:
    return "/" + label.replace("-", "/")


def answered(group: Group, label: str, who: str = "bo", **how: str) -> str:
    with group.app.database.reading() as session:
        found = session.get_one(Posting, int(label.partition("-")[2]))
        message_id = found.message_id("environet.example")
    return group.post(who, in_reply_to=message_id, **how)


def indexed(group: Group) -> None:
    while indexing.run(group.app):
        pass


def box(data: bytes, tmp_path: Path) -> list[mailbox.mboxMessage]:
    """As Python's own reader of such files has it."""
    file = tmp_path / "read.mbox"
    file.write_bytes(data)
    with closing(mailbox.mbox(file, create=False)) as found:
        return list(found)


def text(mail: mailbox.mboxMessage) -> str:
    return "".join(
        (part.get_payload(decode=True) or b"").decode()  # type: ignore[union-attr]
        for part in mail.walk()
        if part.get_content_type() == "text/plain"
    )


# mbox


def test_a_thread_is_a_file_that_a_mail_program_threads(
    group: Group, bo: Visitor, tmp_path: Path
) -> None:
    label = group.post("ana", text=TEXT, subject="Ivory at Mombasa")
    answered(group, label, text="Which pier?\n")
    response = bo.get(f"{path(label)}/thread.mbox")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/mbox"
    assert response.headers["content-disposition"] == f'attachment; filename="{label}.mbox"'
    assert response.headers["cache-control"] == "no-store"
    first, second = box(response.content, tmp_path)
    assert (first["From"], first["To"]) == (
        "Ana Berg <ana@customs.example>", "wildlife@environet.example",
    )  # fmt: skip
    assert first["Subject"] == "Ivory at Mombasa"
    assert "Signature: good" in text(first)
    assert "84 raw tusks" in text(first)
    assert "Which pier?" in text(second)
    assert second["In-Reply-To"] == first["Message-ID"]
    assert first["Archived-At"] == f"<https://archive.environet.example{path(label)}>"
    assert b"\n>From Mombasa by sea." in response.content
    assert response.content.startswith(b"From ana@customs.example ")


def test_it_is_in_the_ledger_and_a_look_at_its_head_is_not(group: Group, bo: Visitor) -> None:
    label = group.post("ana")
    number = label.partition("-")[2]
    before = len(group.ledger("exported"))
    assert bo.client.head(f"{path(label)}/thread.mbox").status_code == 200
    assert len(group.ledger("exported")) == before
    bo.get(f"{path(label)}/thread.mbox")
    bo.get(f"{path(label)}/thread.zip")
    by = group.ledger("exported")[-1]["by"]
    assert group.ledger("exported")[before:] == [
        {"form": form, "postings": 1, "which": number, "posting": label, "by": by}
        for form in ("mbox", "zip")
    ]


def test_the_entry_is_there_before_the_first_byte(group: Group, bo: Visitor) -> None:
    """Whoever breaks the download off has been seen."""
    label = group.post("ana")
    before = len(group.ledger("exported"))
    app = open_app(group.gateway.state, web=True)
    cookies = "; ".join(f"{name}={value}" for name, value in bo.client.cookies.items())
    scope = {
        "type": "http", "method": "GET", "path": f"{path(label)}/thread.mbox", "query_string": b"",
        "headers": [(b"cookie", cookies.encode()), (b"host", b"archive.environet.example")],
        "client": ("127.0.0.1", 1), "server": ("archive.environet.example", 443),
        "scheme": "https", "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    counts: list[int] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()  # nothing more comes of this client
        return {}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            counts.append(len(group.ledger("exported")))

    asyncio.run(site(app)(scope, receive, send))  # type: ignore[arg-type]
    app.close()
    assert counts == [before + 1]


@pytest.mark.parametrize("form", ["mbox", "zip"])
def test_what_others_may_not_read_is_in_no_download(
    group: Group, bo: Visitor, tmp_path: Path, form: str
) -> None:
    label = group.post("ana", "op-coral", text="Blennies.\n")
    assert bo.get(f"{path(label)}/thread.{form}").status_code == 404
    assert bo.get(f"/B/999999/thread.{form}").status_code == 404
    # A thread in which they may read but some.
    seen = group.post("ana", "wildlife", "op-coral", text="For both.\n")
    # Its label is that of the first, as on each copy; nothing else is.
    group.post("ana", "op-coral", "wildlife", text="For both anew.\n")
    indexed(group)
    found = bo.get(f"/search.{form}?q=both+OR+blennies")
    assert found.status_code == 200
    if form == "mbox":
        assert b"Blennies" not in found.content
        assert b"For both anew." in found.content
        assert b"op-coral" not in found.content
        assert b"Coral" not in found.content
        return
    with zipfile.ZipFile(BytesIO(found.content)) as bundle:
        assert f"{label}/verdict.json" not in bundle.namelist()
        verdict = json.loads(bundle.read(f"{seen}/verdict.json"))
        ours = [one for one in bundle.namelist() if not one.endswith("/message.pgp")]
        assert all(b"op-coral" not in bundle.read(one) for one in ours)
    assert [one["list"] for one in verdict["lists"]] == ["wildlife"]


def test_nobody_downloads_without_a_login(group: Group) -> None:
    label = group.post("ana")
    with browser(group) as nobody:
        for one in (f"{path(label)}/thread.mbox", "/search.zip?q=ivory"):
            assert nobody.get(one).status_code == 303


@pytest.mark.parametrize("form", ["mbox", "zip"])
def test_a_strict_thread_stays_in_the_archive(group: Group, bo: Visitor, form: str) -> None:
    label = group.post("ana", text="Rhino.\n", subject=f"Zebu{form}")
    strict = answered(
        group, label, "ana", subject=f"TLP:AMBER+STRICT Zebu{form}", text="Zebu horn.\n"
    )
    group.deliver()
    refused = bo.get(f"{path(label)}/thread.{form}")
    assert refused.status_code == 403
    assert f"its marking keeps {strict} in the archive" in refused.text
    indexed(group)
    left = bo.get(f"/search.{form}?q=zebu{form}")
    assert left.status_code == 200
    assert group.ledger("exported")[-1]["left"] == 1
    assert b"Zebu horn" not in left.content
    if form == "mbox":
        assert b"their marking keeps them in the archive: 1" in left.content.replace(b"=\n", b"")
    else:
        with zipfile.ZipFile(BytesIO(left.content)) as bundle:
            assert "handling marking: 1" in bundle.read("README.txt").decode()
            assert f"{strict}/verdict.json" not in bundle.namelist()


def test_who_may_not_read_the_strict_one_does_not_learn_of_it(group: Group) -> None:
    group.set_member("mei", state=member.State.SUSPENDED)
    label = group.post("ana", subject="Quagga")
    answered(group, label, "ana", subject="TLP:AMBER+STRICT Quagga")
    group.deliver()
    group.set_member("mei", state=member.State.ACTIVE)
    with browser(group) as mei:
        mei.log_in("mei")
        assert mei.get(f"{path(label)}/thread.mbox").status_code == 200


def test_a_search_download_has_so_many_and_says_so(
    group: Group, bo: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        group.post("ana", text=f"Caracal number {number}.\n", subject="Caracals")
    indexed(group)
    monkeypatch.setattr(exporting, "MOST", 2)
    about, *mails = box(bo.get("/search.mbox?q=caracal").content, tmp_path)
    assert "no download has more than 2" in text(about)
    # The newest, in the order of their dates.
    assert ["number 1" in text(mails[0]), "number 2" in text(mails[1])] == [True, True]
    assert len(mails) == 2


def test_a_search_that_finds_nothing_or_is_none_is_told(bo: Visitor) -> None:
    for query in ("", "?q=", "?q=nowhereatall", "?q=%22(((", "?q=" + "x" * 2000):
        assert bo.get(f"/search.mbox{query}").status_code == 400


def test_what_is_withdrawn_is_a_verdict_alone(group: Group, bo: Visitor, tmp_path: Path) -> None:
    label = group.post("ana")
    second = answered(group, label)
    group.say("ana", f"withdraw {label}")
    (mail,) = box(bo.get(f"{path(label)}/thread.mbox").content, tmp_path)
    assert mail["Archived-At"] == f"<https://archive.environet.example{path(second)}>"
    with zipfile.ZipFile(BytesIO(bo.get(f"{path(label)}/thread.zip").content)) as bundle:
        there = [one for one in bundle.namelist() if one.startswith(f"{label}/")]
        assert there == [f"{label}/verdict.json"]
        events = {one["event"] for one in json.loads(bundle.read("ledger.json"))["entries"]}
        assert events == {"accepted", "withdrawn"}


# Evidence


@pytest.fixture(scope="module")
def evidence(group: Group, bo: Visitor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a thread in every form that an author's program may choose, unpacked."""
    first = group.post("ana", text=TEXT, form=FORMS[0])
    for number, form in enumerate(FORMS[1:], 1):
        who = "bo" if number % 2 else "ana"
        answered(group, first, who, text=f"{TEXT}Form {form}.\n", form=form)
    response = bo.get(f"{path(first)}/thread.zip")
    assert response.headers["content-type"] == "application/zip"
    place = tmp_path_factory.mktemp("evidence")
    with zipfile.ZipFile(BytesIO(response.content)) as bundle:
        assert bundle.testzip() is None
        bundle.extractall(place)
    return place


@pytest.fixture
def unpacked(evidence: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evidence, tmp_path / "bundle"))


def commands(place: Path) -> list[str]:
    """What the README tells to type."""
    lines = (place / "README.txt").read_text().splitlines()
    typed = [one.strip() for one in lines if one.startswith("  ")]
    return [one for one in typed if one.startswith(("sha256sum ", "gpg --import", "gpg --verify"))]


def confirmed(place: Path) -> list[int]:
    """Exit status of each command, typed by somebody who has no keys yet."""
    home = short_place("checker")
    home.chmod(0o700)
    environment = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home), "LC_ALL": "C.UTF-8"}
    try:
        return [
            subprocess.run(
                one.split(), cwd=place, env=environment, capture_output=True, check=False
            ).returncode
            for one in commands(place)
        ]
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        shutil.rmtree(home)


def test_gpg_alone_confirms_all_of_it(unpacked: Path) -> None:
    typed = commands(unpacked)
    assert sum(one.startswith("gpg --verify") for one in typed) == 1 + len(FORMS)
    assert confirmed(unpacked) == [0] * len(typed)


def test_each_form_is_kept_as_it_was_signed(unpacked: Path) -> None:
    folders = sorted(
        (one for one in unpacked.iterdir() if one.is_dir()), key=lambda one: int(one.name[2:])
    )
    names = [{file.name for file in one.iterdir()} for one in folders]
    always = {"certificate.asc", "verdict.json"}
    assert names == [
        always | {"message.pgp"},
        always | {"signed", "signature.asc"},
        always | {"message.pgp"},
        always | {"message.asc"},
    ]


@pytest.mark.parametrize(
    "name", ["message.pgp", "signed", "signature.asc", "message.asc", "verdict.json",
             "ledger.json", "SHA256SUMS"]
)  # fmt: skip
def test_one_changed_byte_is_found(unpacked: Path, name: str) -> None:
    for file in unpacked.rglob(name):
        data = bytearray(file.read_bytes())
        data[len(data) * 2 // 3] ^= 1
        file.write_bytes(data)
    typed, codes = commands(unpacked), confirmed(unpacked)
    faults = {one for one, code in zip(typed, codes, strict=True) if code}
    if name == "SHA256SUMS":
        # sha256sum only warns of a line that is none any more.
        assert "gpg --verify SHA256SUMS.asc SHA256SUMS" in faults
        return
    assert any(one.startswith("sha256sum") for one in faults)
    if not name.endswith(".json"):
        assert any(one.startswith("gpg --verify") and name in one for one in faults)


def test_a_manifest_made_anew_is_not_the_archives(unpacked: Path) -> None:
    """Whoever changes a file can write its hash, but not sign it."""
    manifest = unpacked / "SHA256SUMS"
    manifest.write_bytes(manifest.read_bytes().replace(b"README.txt", b"README.TXT"))
    codes = dict(zip(commands(unpacked), confirmed(unpacked), strict=True))
    assert codes["gpg --verify SHA256SUMS.asc SHA256SUMS"] == 1


def test_the_manifest_names_every_file(unpacked: Path) -> None:
    lines = (unpacked / "SHA256SUMS").read_text().splitlines()
    files = {str(one.relative_to(unpacked)) for one in unpacked.rglob("*") if one.is_file()}
    assert {one.partition("  ")[2] for one in lines} == files - {"SHA256SUMS", "SHA256SUMS.asc"}


def test_the_archives_key_signs_and_is_named(group: Group, unpacked: Path) -> None:
    with group.app.database.reading() as session:
        fingerprint = own_key(session, Purpose.ARCHIVE).fingerprint
    assert fingerprint in (unpacked / "README.txt").read_text()


def test_the_verdict_says_who_and_with_which_key(group: Group, unpacked: Path) -> None:
    (file,) = list(unpacked.rglob("signed"))
    verdict = json.loads((file.parent / "verdict.json").read_text())
    assert verdict["author"]["address"] == "bo@customs.example"
    assert (verdict["verified"], verdict["standing"]) == (True, "active")
    assert verdict["marking"] == "TLP:AMBER"
    assert verdict["lists"] == [{"list": "wildlife", "rule": "accept"}]
    checked = verdict["checked_again"]
    assert (checked["good"], checked["since"]) == (True, None)
    assert len(verdict["key"]) == 40


def test_the_extract_is_of_the_ledger_and_says_nothing_of_readers(
    group: Group, unpacked: Path
) -> None:
    extract = json.loads((unpacked / "ledger.json").read_text())
    with group.app.database.reading() as session:
        chain = {one.sequence: one.hash for one in store_ledger.entries(session)}
    assert chain[extract["head"]["sequence"]] == extract["head"]["hash"]
    assert {one["event"] for one in extract["entries"]} == {"accepted"}
    assert len(extract["entries"]) == len(FORMS)
    for one in extract["entries"]:
        at = datetime.fromisoformat(one["at"]).astimezone(UTC)
        fields = (one["previous"], str(one["sequence"]),
                  at.isoformat(timespec="microseconds"), one["event"], one["detail"])  # fmt: skip
        command = ["sha256sum"]
        summed = subprocess.run(
            command, input="\n".join(fields).encode(), capture_output=True, check=True
        ).stdout
        assert summed.split()[0].decode() == one["hash"] == chain[one["sequence"]]


# The operator's


def test_the_operator_exports_a_list(group: Group, tmp_path: Path) -> None:
    group.post("ana", "waste", text="Drums.\n")
    group.post("ana", "waste", text="For few.\n", subject="TLP:AMBER+STRICT Drums")
    file = tmp_path / "waste.mbox"
    said = group.gateway.environet("archive", "export", str(file), "--list", "A")
    assert "1 postings are in" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (mail,) = box(file.read_bytes(), tmp_path)
    assert "Drums." in text(mail)
    assert group.ledger("exported")[-1]["by"] == "operator"
    with pytest.raises(CommandFailed, match="File exists"):
        group.gateway.environet("archive", "export", str(file), "--list", "A")
    everything = tmp_path / "all.mbox"
    group.gateway.environet("archive", "export", str(everything), "--list", "A", "--all")
    assert len(box(everything.read_bytes(), tmp_path)) == 2
    later = tmp_path / "later.mbox"
    told = group.gateway.environet(
        "archive", "export", str(later), "--since", "2999-01-01", "--json"
    )
    assert json.loads(told)["postings"] == 0


def test_what_is_exported_can_be_imported(group: Group, tmp_path: Path) -> None:
    label = group.post("ana", "ozone", text=TEXT)
    with group.app.database.reading() as session:
        found = session.get_one(Posting, int(label.partition("-")[2]))
    group.post("bo", "ozone", in_reply_to=found.message_id("environet.example"))
    file = tmp_path / "ozone.mbox"
    group.gateway.environet("archive", "export", str(file), "--list", "D")
    said = group.gateway.environet("archive", "import", str(file), "--list", "G", "--json")
    assert json.loads(said)["imported"] == 2


def test_a_damaged_posting_does_not_end_a_download(
    group: Group, bo: Visitor, tmp_path: Path
) -> None:
    label = group.post("ana")
    second = answered(group, label, text="Still here.\n")
    with group.app.database.transaction() as session:
        found = session.get_one(Posting, int(label.partition("-")[2]))
        found.submission = found.submission[:-1] + b"?"
    first, other = box(bo.get(f"{path(label)}/thread.mbox").content, tmp_path)
    assert f"{label} can't be read" in text(first)
    assert "Still here." in text(other)
    with zipfile.ZipFile(BytesIO(bo.get(f"{path(label)}/thread.zip").content)) as bundle:
        assert "fault" in json.loads(bundle.read(f"{label}/verdict.json"))
        assert f"{second}/message.pgp" in bundle.namelist()


def test_numbers_in_few_words() -> None:
    assert exporting.ranges([]) == ""
    assert exporting.ranges([9, 1, 2, 3, 5]) == "1-3 5 9"
