"""Mails from Thunderbird's and KMail's own tests, hostile ones among them, sent to a real gateway.

Whatever they are, the gateway takes or refuses them for good, and delivers only what its own
people judge to be signed as a whole.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from gateway import judging
from gateway.app import open_app
from gateway.store.posting import Posting
from tests import programs
from tests.gateway import CommandFailed, RunningGateway, short_place
from tests.officers import Officer

LIST = "wildlife@environet.example"
READER = "reader@member.example"
# SPOOF-ID is a good signature under a false From, which the gateway doesn't read.
DELIVERABLE = {"ACCEPT", "SPOOF-ID"}
KEYS = "mail/test/browser/openpgp/data/keys"
THUNDERBIRD = ("alice@openpgp.example-0xf231550c4f47e38e", "bob@openpgp.example-0xfbfcc82a015e7330",
               "carol@example.com-0x3099ff1238852b9f")  # fmt: skip
KMAIL = ("8D9860C58F246DE6", "14B79E26050467AA", "FC4FAB94C727D4BB")


@dataclass(frozen=True, slots=True)
class Corpus:
    """mails: path -> what is expected of it. secrets: keys that open some of them.
    authors: address -> certificate."""

    folder: Path
    mails: dict[str, str]
    secrets: bytes
    authors: dict[str, bytes]

    def mail(self, path: str) -> bytes:
        data = (self.folder / path).read_bytes()
        if data.startswith(b"From "):  # of an mbox
            data = data.partition(b"\n")[2]
        return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def thunderbird(folder: Path) -> Corpus:
    keys = folder / KEYS
    return Corpus(
        folder,
        expectations(folder),
        b"".join((keys / f"{name}-secret.asc").read_bytes() for name in THUNDERBIRD),
        {name.partition("-")[0]: (keys / f"{name}-pub.asc").read_bytes() for name in THUNDERBIRD},
    )


def kmail(folder: Path) -> Corpus:
    place = short_place("kmail")
    home = place / "home"
    shutil.copytree(folder / "messagecore/autotests/gnupg_home", home)
    home.chmod(0o700)
    try:
        secrets = programs.gpg(home, "--armor", "--export-secret-keys")
        authors = {
            f"{key}@kmail.example": programs.gpg(home, "--armor", "--export", key) for key in KMAIL
        }
    finally:
        programs.run(["gpgconf", "--homedir", str(home), "--kill", "all"])
        shutil.rmtree(place)
    return Corpus(folder, expectations(folder), secrets, authors)


def expectations(folder: Path) -> dict[str, str]:
    with (folder / "EXPECTED.tsv").open(newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        return {row["file"]: row["expected"] for row in rows if (folder / row["file"]).is_file()}


CORPORA = {"thunderbird-openpgp": thunderbird, "kmail-messagelib": kmail}


@pytest.fixture(scope="module", params=sorted(CORPORA))
def corpus(request: pytest.FixtureRequest, corpora: Path) -> Corpus:
    folder = corpora / request.param
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    return CORPORA[request.param](folder)


@pytest.fixture(scope="module")
def reader() -> Iterator[Officer]:
    with Officer.create("gpg", "A Reader", READER) as made:
        yield made


@pytest.fixture
def gateway(corpus: Corpus, reader: Officer) -> Iterator[RunningGateway]:
    """It opens what is encrypted to the corpus's keys, and takes signed mail of any age."""
    with RunningGateway(short_place("corpora")) as made:
        made.found()
        programs.gpg(made.state / "gnupg", "--import", data=corpus.secrets)
        made.environet("list", "set", "wildlife", "--signed-only", "--signature-days", "36500")
        made.add_member(reader)
        yield made
        assert "Traceback" not in made.log_text
        assert "fault on our side" not in made.log_text


def kept(gateway: RunningGateway, corpus: Corpus) -> set[str]:
    """Send every mail: the paths of those that became postings. Each answer must be for good."""
    found, before = set(), 0
    for path in sorted(corpus.mails):
        code, text = gateway.send(corpus.mail(path), "somebody@elsewhere.example", [LIST])
        assert code == 250 or 500 <= code < 600, f"{path}: {code} {text}"
        with gateway.reading() as session:
            after = session.scalar(select(func.count()).select_from(Posting)) or 0
        found |= {path} if after > before else set()
        before = after
    return found


def test_strangers_mails_are_all_refused(corpus: Corpus, gateway: RunningGateway) -> None:
    gateway.start()
    assert kept(gateway, corpus) == set()
    assert gateway.copies(READER) == []


def test_members_mails_are_kept_where_the_whole_is_well_signed(
    corpus: Corpus, gateway: RunningGateway, reader: Officer
) -> None:
    admitted = [one for one in corpus.authors if admits(gateway, one, corpus.authors[one])]
    gateway.start()
    found = kept(gateway, corpus)
    deliverable = {path for path, value in corpus.mails.items() if value in DELIVERABLE}
    assert found <= deliverable
    assert found == (deliverable if len(admitted) == len(corpus.authors) else set())
    # Written to other people, by their signed headers: held, and here approved.
    for one in json.loads(gateway.environet("hold", "list", "--json")):
        assert one["rule"] == "signed-for-others"
        gateway.environet("hold", "approve", one["hold"])
    gateway.wait_until_delivered()
    copies = gateway.copies(READER)
    assert len(copies) == len(found)
    certificate = gateway.certificate(LIST)
    for copy in copies:
        reading = reader.read(copy, certificate)
        assert reading.list_signature
        assert "Signature: good" in reading.text
    print(f"{corpus.folder.name}: {len(found)} of {len(corpus.mails)} mails distributed")


@pytest.mark.parametrize("setting", ["refuse", "signed-part"])
def test_no_mail_is_judged_to_be_what_it_is_not(
    corpus: Corpus, gateway: RunningGateway, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address, certificate in corpus.authors.items():
        admits(gateway, address, certificate)
    monkeypatch.setenv("ENVIRONET_POLICY_PARTLY_SIGNED", setting)
    app = open_app(gateway.state)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = []
    for path, expected in sorted(corpus.mails.items()):
        verdict = judging.judge(app, judging.envelope_of(app, corpus.mail(path), [LIST]))
        (destined,) = verdict.destined
        is_part = "in part " if verdict.noted.partial else ""
        table[expected][f"{is_part}{destined.action} ({destined.rule})"] += 1
        may_be = set[str]()
        if expected in DELIVERABLE or (expected == "PARTIAL" and verdict.noted.partial):
            may_be = {"accept", "hold"}
        elif expected == "QUARANTINE":  # such as a good signature on another day than Date says
            may_be = {"hold"}
        wrong += [path] if destined.action in {"accept", "hold"} - may_be else []
    app.close()
    print(f"{corpus.folder.name}, what is signed in part: {setting}")
    for expected, found in sorted(table.items()):
        told = ", ".join(f"{number} × {verdict}" for verdict, number in found.most_common())
        print(f"  {expected:<11} {told}")
    assert wrong == []


def admits(gateway: RunningGateway, address: str, certificate: bytes) -> bool:
    """Whether the certificate's owner becomes a member; some of these are too weak by now."""
    file = gateway.place / "author.asc"
    file.write_bytes(certificate)
    try:
        gateway.environet(
            "member", "add", address, "--name", "An Author", "--organisation", "Elsewhere",
            "--country", "KE", "--certificate", str(file),
        )  # fmt: skip
    except CommandFailed as error:
        print(f"{address}: {error}")
        return False
    return True
