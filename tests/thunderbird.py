"""A real Thunderbird on a screen of its own, with an officer's key, driven by Mozilla's Marionette.

with Thunderbird(short_place("tb"), "Bo", "bo@police.example", secret, [of_list]) as program:
    program.show(mail).signature   # "verified"
    program.write("wildlife@environet.example", "Ivory", "Two tons.")   # the mail as it was sent
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.gateway import Sink

COMMANDS = ("thunderbird", "Xvfb")
_PATIENCE_SECONDS = 120
_LIBRARY = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { MailUtils } = ChromeUtils.importESModule("resource:///modules/MailUtils.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const pause = ms => new Promise(done => setTimeout(done, ms));
async function until(what) {
  let fault = "";
  const end = Date.now() + 90000;
  while (Date.now() < end) {
    try { const found = await what(); if (found) return found; } catch (one) { fault = one; }
    await pause(100);
  }
  throw new Error(`it did not come: ${what} ${fault}`);
}
const text = node => node ? node.textContent.replace(/\\s+/g, " ").trim() : "";
const windows = kind => [...Services.wm.getEnumerator(kind)];
const parameters = arguments[0], answer = arguments[1];
"""
_IMPORT = """
const { RNP } = ChromeUtils.importESModule("chrome://openpgp/content/modules/RNP.sys.mjs");
const { PgpSqliteDb2 } =
  ChromeUtils.importESModule("chrome://openpgp/content/modules/sqliteDb.sys.mjs");
const { EnigmailKeyRing } =
  ChromeUtils.importESModule("chrome://openpgp/content/modules/keyRing.sys.mjs");
const main = await until(() => windows("mail:3pane")[0]);
await until(() => main.document.readyState == "complete");
await RNP.importSecKeyBlockImpl(main, () => "", false, parameters.secret, []);
await PgpSqliteDb2.acceptAsPersonalKey(parameters.fingerprint);
for (const one of parameters.certificates)
  await RNP.importPubkeyBlockAutoAcceptImpl(main, one, "verified", []);
EnigmailKeyRing.clearCache();
return null;
"""
_SHOW = """
const root = MailServices.accounts.localFoldersServer.rootFolder;
root.QueryInterface(Ci.nsIMsgLocalMailFolder);
const folder = root.createLocalSubfolder(parameters.folder);
folder.QueryInterface(Ci.nsIMsgLocalMailFolder);
folder.addMessage(parameters.mail);
for (const one of windows("mail:messageWindow")) one.close();
await until(() => !windows("mail:messageWindow").length);
MailUtils.openMessageInNewWindow([...folder.messages][0]);
const shown = await until(() => {
  const frame = windows("mail:messageWindow")[0].document.getElementById("messageBrowser");
  const view = frame.contentWindow;
  return view.msgLoaded && view.gMessage && view;
});
windows("mail:messageWindow")[0].resizeTo(1180, 880);
const mark = name => {
  const icon = shown.document.getElementById(name);
  const source = icon && !icon.hidden && icon.getAttribute("src") || "";
  return source.replace(/.*message-(?:encrypted|signed)-(.*)\\.svg$/, "$1");
};
await until(() => mark("signedHdrIcon"));
let body = "";  // the page is made anew once the mail is opened
await until(async () => {
  const before = body;
  body = shown.document.getElementById("messagepane").contentDocument.body.innerText;
  await pause(500);
  return body.trim() && body == before;
});
return {
  subject: text(shown.document.getElementById("expandedsubjectBox")).replace(/^Subject:? */, ""),
  encrypted: mark("encryptedHdrIcon"),
  signature: mark("signedHdrIcon"),
  warnings: (shown.Enigmail.msg.notificationBox?.allNotifications || []).map(text),
  text: body,
  attachments: shown.currentAttachments.map(one => one.name),
};
"""
_ANSWER = """
const view = windows("mail:messageWindow")[0].document.getElementById("messageBrowser");
view.contentWindow.commandController.doCommand("cmd_reply");
const page = await until(() => windows("msgcompose").find(one => one.gMsgCompose
  && one.document.getElementById("messageEditor").contentDocument.body.innerText.length > 5));
await pause(1500);
const pills = page.document.querySelectorAll("#toAddrContainer mail-address-pill");
const found = {
  to: [...pills].map(one => one.emailAddress),
  subject: page.document.getElementById("msgSubject").value,
  encrypts: page.gSendEncrypted,
  signs: page.gSendSigned,
};
if (parameters.send) {
  page.GetCurrentEditor().insertText(parameters.text);
  page.goDoCommand("cmd_sendNow");
  await until(() => !windows("msgcompose").length);
}
return found;
"""
_WRITE = """
const fields = Cc["@mozilla.org/messengercompose/composefields;1"]
  .createInstance(Ci.nsIMsgCompFields);
Object.assign(fields, { to: parameters.to, subject: parameters.subject, body: parameters.text });
const how = Cc["@mozilla.org/messengercompose/composeparams;1"]
  .createInstance(Ci.nsIMsgComposeParams);
Object.assign(how, {
  composeFields: fields, type: Ci.nsIMsgCompType.New, format: Ci.nsIMsgCompFormat.PlainText,
  identity: MailServices.accounts.allIdentities.find(one => one.email),
});
MailServices.compose.OpenComposeWindowWithParams(null, how);
const page = await until(() => windows("msgcompose").find(one => one.gMsgCompose
  && one.document.getElementById("messageEditor").contentDocument.body));
await pause(1500);
const found = { encrypts: page.gSendEncrypted, signs: page.gSendSigned };
page.goDoCommand("cmd_sendNow");
await until(() => !windows("msgcompose").length);
return found;
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a mail looks like. encrypted, signature: "ok", "verified", "unverified", "mismatch" and
    the like, as its icons are called; "" for none. warnings: texts of the bars over the mail."""

    subject: str
    encrypted: str
    signature: str
    warnings: tuple[str, ...]
    text: str
    attachments: tuple[str, ...]


class Thunderbird:
    """`place` becomes its profile, and is removed at the end."""

    def __init__(
        self, place: Path, name: str, address: str, secret: bytes, certificates: Sequence[bytes],
        fingerprint: str,
    ) -> None:  # fmt: skip
        """secret: the officer's key, armored, without a passphrase. certificates: armored, of whom
        they trust."""
        with warnings.catch_warnings(action="ignore"):  # of what it leans on itself
            from marionette_driver.marionette import Marionette  # which is not installed everywhere

        self._place = place
        self._shown = 0
        self.sink = Sink()
        port = _free_port()
        settings = _preferences(name, address, fingerprint, self.sink.port, port)
        (place / "user.js").write_text(settings)
        self._screen, display = _screen()
        environment = {**os.environ, "DISPLAY": display, "HOME": str(place), "LC_ALL": "C.UTF-8",
                       "TZ": "UTC", "MOZ_DISABLE_CONTENT_SANDBOX": "1"}  # fmt: skip
        with (place / "log").open("w") as log:
            self._program = subprocess.Popen(
                ["thunderbird", "--marionette", "--remote-allow-system-access", "--no-remote",
                 "--profile", str(place)],
                env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        _wait_for(port)
        self._marionette = Marionette(host="127.0.0.1", port=port)
        self._marionette.start_session()
        self._marionette.set_context("chrome")
        self._marionette.timeout.script = _PATIENCE_SECONDS
        self._run(
            _IMPORT, secret=secret.decode(), fingerprint=fingerprint,
            certificates=[one.decode() for one in certificates],
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._program, self._screen):
            one.terminate()
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        self.sink.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def show(self, mail: bytes) -> Shown:
        """Open a mail that came."""
        self._shown += 1
        found = self._run(_SHOW, mail=mail.decode("latin-1"), folder=f"Mail {self._shown}")
        return Shown(
            found["subject"], found["encrypted"], found["signature"], tuple(found["warnings"]),
            found["text"], tuple(found["attachments"]),
        )  # fmt: skip

    def answer(self, text: str) -> tuple[dict[str, Any], bytes]:
        """Answer the mail that is shown: what its page has (to, subject, encrypts, signs), and the
        mail as it was sent."""
        found = self._run(_ANSWER, send=True, text=text)
        return found, self._sent()

    def write(self, to: str, subject: str, text: str) -> bytes:
        """A new mail, as it was sent; with the program's own settings of signing and encrypting."""
        self._run(_WRITE, to=to, subject=subject, text=text)
        return self._sent()

    def _sent(self) -> bytes:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.sink.handed and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.sink.handed.pop().data

    def _run(self, script: str, **parameters: object) -> Any:
        whole = (
            _LIBRARY + "(async () => {" + script + "})().then("
            "value => answer({ value }), fault => answer({ fault: fault + ' ' + fault.stack }));"
        )
        found = self._marionette.execute_async_script(
            whole, script_args=[parameters], sandbox="system", new_sandbox=True
        )
        if "fault" in found:
            raise AssertionError(found["fault"])
        return found["value"]


def _preferences(name: str, address: str, fingerprint: str, smtp: int, port: int) -> str:
    """One account, which signs and encrypts always, sends to a port here and fetches nothing."""
    chosen: dict[str, object] = {
        "marionette.port": port,
        "mail.accountmanager.accounts": "account1,account2",
        "mail.accountmanager.localfoldersserver": "server1",
        "mail.accountmanager.defaultaccount": "account2",
        "mail.account.account1.server": "server1",
        "mail.server.server1.type": "none",
        "mail.server.server1.hostname": "Local Folders",
        "mail.server.server1.name": "Local Folders",
        "mail.server.server1.userName": "nobody",
        "mail.account.account2.server": "server2",
        "mail.account.account2.identities": "id1",
        "mail.server.server2.type": "pop3",
        "mail.server.server2.hostname": "127.0.0.1",
        "mail.server.server2.port": 9,
        "mail.server.server2.userName": address,
        "mail.server.server2.check_new_mail": False,
        "mail.server.server2.login_at_startup": False,
        "mail.identity.id1.fullName": name,
        "mail.identity.id1.useremail": address,
        "mail.identity.id1.valid": True,
        "mail.identity.id1.smtpServer": "smtp1",
        "mail.identity.id1.fcc": False,
        "mail.identity.id1.compose_html": False,
        "mail.identity.id1.is_gnupg_key_id": False,
        "mail.identity.id1.openpgp_key_id": fingerprint,
        "mail.identity.id1.sign_mail": True,
        "mail.identity.id1.encryptionpolicy": 2,
        "mail.identity.id1.protectSubject": True,
        "mail.identity.id1.attachPgpKey": False,
        "mail.smtpservers": "smtp1",
        "mail.smtp.defaultserver": "smtp1",
        "mail.smtpserver.smtp1.hostname": "127.0.0.1",
        "mail.smtpserver.smtp1.port": smtp,
        "mail.smtpserver.smtp1.authMethod": 1,
        "mail.smtpserver.smtp1.try_ssl": 0,
        "mail.provider.suppress_dialog_on_startup": True,
        "mail.spotlight.firstRunDone": True,
        "mail.rights.version": 1,
        "mail.shell.checkDefaultClient": False,
        "mail.SpellCheckBeforeSend": False,
        "mail.inappnotifications.enabled": False,
        "mailnews.start_page.enabled": False,
        "app.donation.eoy.version.viewed": 999,
        "app.update.auto": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "services.settings.server": "http://127.0.0.1:9/",
        "toolkit.telemetry.enabled": False,
    }
    return "".join(f"user_pref({json.dumps(one)}, {json.dumps(value)});\n"
                   for one, value in chosen.items())  # fmt: skip


def _screen() -> tuple[subprocess.Popen[bytes], str]:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1200x900x24", "-nolisten", "tcp"],
        pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as stream:
        return process, f":{stream.readline().strip()}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
