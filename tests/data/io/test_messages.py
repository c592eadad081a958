"""Conversations in every writing; two of them cut into a prompt and two answers."""

from __future__ import annotations

import polars as pl

from preflearn.data.io.messages import conversations, split, transcript


def _said(column: pl.Series) -> list[list[tuple[str, str | None]] | None]:
    return [None if row is None else [(m["role"], m["content"]) for m in row] for row in column.to_list()]


def test_text_lists_and_json_become_messages() -> None:
    column = pl.Series(
        "x",
        [
            "plain",
            '[{"role": "human", "content": "q"}, {"role": "assistant", "content": [{"type": "text", "text": "z"}]}]',
            "[1, 2]",
            None,
        ],
    )
    assert _said(conversations(column, "assistant").column) == [
        [("assistant", "plain")],
        [("user", "q"), ("assistant", "z")],
        [("assistant", "[1, 2]")],
        None,
    ]
    shared = pl.Series("x", [[{"from": "gpt", "value": "hi"}], [], None])
    assert _said(conversations(shared, "user").column) == [[("assistant", "hi")], [], None]


def test_parts_become_text_and_media_and_lost_fields_are_named() -> None:
    parts = [
        {"type": "text", "text": "what", "image": None, "mimeType": None},
        {"type": "image", "text": None, "image": "i.png", "mimeType": "image/png"},
        {"type": "text", "text": "is this?", "image": None, "mimeType": None},
    ]
    found = conversations(pl.Series("x", [[{"role": "user", "content": parts, "tool_calls": "f()"}]]), "user")
    assert found.column.to_list()[0][0]["content"] == "what\n\nis this?"
    assert found.column.to_list()[0][0]["media"] == ["i.png"]
    assert found.media is not None and found.media.rows() == [("i.png", "image", "i.png", "image/png")]
    assert found.left_out == ("tool_calls",)


def test_transcripts() -> None:
    turn, opening = r"\n\n(Human|Assistant): ?", r"\s*(Human|Assistant): ?"
    texts = pl.Series(
        "x", ["\n\nHuman: a: b\n\nAssistant: x\n\ny\n\nHuman: ", "Human: q\n\nAssistant:", "say Human: no", None]
    )
    assert _said(transcript(texts, turn, opening=opening)) == [
        [("user", "a: b"), ("assistant", "x\n\ny"), ("user", "")],
        [("user", "q"), ("assistant", "")],
        [("system", "say Human: no")],
        None,
    ]


def test_two_conversations_are_cut_where_their_answers_begin() -> None:
    def talk(*contents: str) -> list[dict[str, str]]:
        return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]

    pairs = [
        (talk("q", "x"), talk("q", "z")),
        (talk("q", "x", "r", "y"), talk("q", "x", "r", "z")),
        (talk("q", "x", "r", "y"), talk("q", "w", "r", "z")),
        (talk("q", "x", "r", "y"), talk("q", "x")),
        (talk("q", "x"), talk("q", "x")),
        (talk("one", "x"), talk("two", "y")),
        (talk("q"), talk("q")),
    ]
    a, b = (conversations(pl.Series("m", [pair[i] for pair in pairs]), "user").column for i in (0, 1))
    cut = split(a, b)

    def texts(column: pl.Series) -> list[str]:
        return ["-" if row is None else "".join(m["content"] for m in row) for row in column.to_list()]

    assert texts(cut.prompt) == ["q", "qxr", "q", "q", "q", "-", "-"]
    assert texts(cut.prompt_a) == ["-", "-", "-", "-", "-", "one", "-"]
    assert texts(cut.prompt_b) == ["-", "-", "-", "-", "-", "two", "-"]
    assert texts(cut.text_a) == ["x", "y", "xry", "xry", "x", "x", "q"]
    assert texts(cut.text_b) == ["z", "z", "wrz", "x", "x", "y", "q"]
    assert cut.whole.to_list() == [False] * 6 + [True]
