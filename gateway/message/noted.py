"""What is noticed of a mail's form, and told to whoever reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noted:
    """repaired: a server on its way had taken the frame of the encryption apart. partial: the mail
    had more in it than what is signed, and that was left out. differs: names of header fields that
    said something else outside than under the signature, which counts. imitates: the text has lines
    like those of the gateway's attestation, which are the author's all the same. names_other: From
    names another member than the author."""

    repaired: bool = False
    partial: bool = False
    differs: tuple[str, ...] = ()
    imitates: bool = False
    names_other: bool = False


NOTHING = Noted()
