"""Words, sentences and sizes of made-up postings, as those of real lists are.

Words have a Zipf distribution over a vocabulary of real function words and terms of the trade in
three languages and of words made of syllables.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

# Measured on 222 mails of a kernel list (the notmuch project's test corpus): quantile -> value.
WORDS = ((0.0, 8), (0.1, 34), (0.25, 85), (0.5, 135), (0.75, 235), (0.9, 424), (0.97, 751),
         (1.0, 3245))  # fmt: skip
"""Words of a text, quotations among them; 205 on average."""
QUOTED = ((0.0, 0), (0.4, 1), (0.5, 19), (0.75, 85), (0.9, 171), (0.97, 306), (1.0, 734))
"""Words in quotations; 59 on average."""
SIZES = ((0.0, 1), (0.5, 1), (0.75, 2), (0.9, 6), (0.97, 10), (1.0, 98))
"""Postings of a thread; 4.2 on average."""
SUBJECT = (4, 11)
"""Words of a subject: 49 to 79 characters there."""
# That list's vocabulary is 4,061 of 45,547 words, its most frequent 2.2 % of all: about Zipf's law.
VOCABULARY = 40_000
LANGUAGES = {"en": 60, "fr": 25, "es": 15}

_FUNCTION = {
    "en": "the of and to a in is that for it on was with as be by at this from have or not are "
          "but had has they we you which were been one all would there their what so out if "
          "will more when who no up can said about them some could then",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se "
          "le ce il sont aux avec son cette ou mais nous ont leur sans comme dont fait ces "
          "entre",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero "
          "sus le ha me si sin sobre este ya entre cuando todo esta ser son dos también fue",
}  # fmt: skip
_TRADE = {
    "en": "container shipment vessel customs permit seizure ivory timber rosewood waste "
          "batteries pallet declared consignee importer exporter bill lading origin destination "
          "inspection sample laboratory refrigerant cylinder trawler catch licence port police "
          "agency weight invoice false bottom concealed smuggled pangolin scales mercury "
          "pesticide label drums",
    "fr": "conteneur envoi navire douane permis saisie ivoire bois palissandre déchets "
          "batteries palette déclaré destinataire importateur exportateur connaissement origine "
          "inspection échantillon laboratoire frigorigène bouteille chalutier capture licence "
          "port police",
    "es": "contenedor envío buque aduana permiso incautación marfil madera palisandro residuos "
          "baterías palé declarado destinatario importador exportador conocimiento origen muestra "
          "laboratorio refrigerante cilindro arrastrero captura licencia puerto policía peso",
}  # fmt: skip
_SYLLABLES = [one + vowel for one in "bcdfghjklmnprstvwz" for vowel in "aeiou"]


@dataclass
class Vocabulary:
    """One language's words, the frequent first."""

    words: list[str]
    weights: list[float]

    def drawn(self, chance: random.Random, count: int) -> list[str]:
        return chance.choices(self.words, cum_weights=self.weights, k=count)


def vocabularies() -> dict[str, Vocabulary]:
    """By language."""
    chance = random.Random(5)
    made: dict[str, Vocabulary] = {}
    coined_words: set[str] = set()
    while len(coined_words) < VOCABULARY:
        coined_words.add("".join(chance.choices(_SYLLABLES, k=chance.randint(2, 5))))
    for language, function in _FUNCTION.items():
        rest = sorted(coined_words)
        chance.shuffle(rest)
        trade = _TRADE[language].split()
        # Function words first, then the trade's words thinly among the coined.
        mixed = [word for pair in zip(trade, rest, strict=False) for word in pair]
        words = [*dict.fromkeys(function.split()), *mixed, *rest[len(trade) :]]
        weights = list(accumulate(1 / (rank + 2.7) for rank in range(len(words))))
        made[language] = Vocabulary(words, weights)
    return made


def text(chance: random.Random, vocabulary: Vocabulary, answered: str) -> str:
    """Lines of a dozen words, after some of what it answers."""
    quoted: list[str] = []
    own = quantile(chance, WORDS)
    if answered:
        wanted = quantile(chance, QUOTED)
        lines = [one for one in answered.split("\n") if one and not one.startswith(">")]
        quoted = [f"> {one}" for one in lines[: wanted // 12]]
        own = max(8, own - 12 * len(quoted))
    words = vocabulary.drawn(chance, own)
    lines = [" ".join(words[at : at + 12]).capitalize() + "." for at in range(0, own, 12)]
    if chance.random() < 0.2:
        lines.append(f"Container MSKU{chance.randrange(10**7):07} at berth {chance.randrange(40)}.")
    return "\n".join([*quoted, "", *lines])


def weighted(chance: random.Random, shares: Mapping[str, int]) -> str:
    """One of some, by their shares."""
    return chance.choices(list(shares), weights=list(shares.values()))[0]


def quantile(chance: random.Random, points: Sequence[tuple[float, int]]) -> int:
    """A value from a distribution that is known at some quantiles; even between them, on a
    logarithmic scale, as sizes of texts are."""
    at = chance.random()
    for (low, less), (high, more) in pairwise(points):
        if at <= high:
            share = (at - low) / (high - low)
            return round(float((less + 1) * ((more + 1) / (less + 1)) ** share)) - 1
    return points[-1][1]


def coined(number: int) -> str:
    """A name."""
    chance = random.Random(number)
    return "".join(chance.choices(_SYLLABLES, k=3)).capitalize()
