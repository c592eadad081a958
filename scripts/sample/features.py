"""Simple style facts of a text, for the simulated panel and for style-controlled leaderboards of the sample.

Counts only, from the text alone: this file knows nothing about prompts, systems or tastes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# A word: a run of letters or digits, held together by inner apostrophes and hyphens ("don't", "ten-year-old").
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
# A list item: a line that begins with a bullet, or with a number or letter and a full stop or bracket; then text.
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*•–][ \t]+|(?:\d{1,3}|[A-Za-z])[.)][ \t]+)\S", re.MULTILINE)

#: Words of address, sympathy, praise and encouragement, in lower case; whole words are compared, never stems.
WARMTH_WORDS: frozenset[str] = frozenset(
    """
    amazing awesome beautiful bless brave care caring cheer cheers comfort congratulations courage darling dear
    deserve deserved encourage encouraging excited feel feelings forgive friend friends gentle gently glad grateful
    happy heart heartfelt hope hug hugs joy kind kindness love lovely loving luck precious proud smile sorry
    support supportive sweet thank thanks thoughtful treasure understand understandable understanding warm warmth
    welcome well-being wish wishes wonderful worry worries
    amitié bonheur bravo cher chère courageux désolé heureuse heureux merci plaisir
    danke freude freund freundin glück herz herzlich liebe lieber schön
    alegría amigo amiga ánimo corazón felicidades feliz gracias querida querido
    """.split()  # noqa: SIM905 - one word list is easier to read and to extend than ninety quoted strings
)


class StyleFacts(NamedTuple):
    """What a text looks like, all counts >= 0.

    `characters` are Unicode code points of the stripped text; `words` are runs of letters and digits (inner
    apostrophes and hyphens belong to the word; list numbers are not words); `list_items` are lines that begin with a
    bullet, "1." or "a)"; `exclamation_marks` and `question_marks` include the inverted and full-width signs;
    `warmth_words` are the words that stand in `WARMTH_WORDS`.
    """

    characters: int
    words: int
    list_items: int
    exclamation_marks: int
    question_marks: int
    warmth_words: int


def style_facts(text: str) -> StyleFacts:
    """Count the style facts of one text.

    A pure function of `text`: white space at both ends is ignored, case matters nowhere, and an empty text has
    only zeros. Letters count in every script, but the warmth words are English with a few in French, German and
    Spanish, so that `warmth_words` compares texts of one language only.
    """
    stripped = text.strip()
    items = _LIST_ITEM.findall(stripped)
    words = _WORD.findall(_LIST_ITEM.sub(lambda match: " " + match.group()[-1], stripped))
    return StyleFacts(
        characters=len(stripped),
        words=len(words),
        list_items=len(items),
        exclamation_marks=sum(stripped.count(mark) for mark in "!¡！"),
        question_marks=sum(stripped.count(mark) for mark in "?¿？"),
        warmth_words=sum(word.lower() in WARMTH_WORDS for word in words),
    )
