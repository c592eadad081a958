"""How much people agree, what position and length are worth, and how ties came about."""

from __future__ import annotations

from preflearn.evaluate import Figure
from preflearn.evaluate.describe_comparisons import Question
from preflearn.ranking import Effect
from preflearn.report.asked import Asked
from preflearn.report.blocks import Axis, Block, Intervals, Prose, Row, Section, headings, number, percent
from preflearn.report.trust import position_sentence


def section(question: Question | None) -> Section | None:
    """Agreement between people about the same items; None without comparisons."""
    if question is None:
        return None
    blocks: list[Block] = [Prose(agreement_sentence(question))]
    found = question.agreement
    if found.observed.value is not None:
        rows = [
            ("Two people agree about an item", found.observed),
            ("All agree about an item", found.unanimous),
            ("One person asked again agrees", found.self_agreement),
            ("Best possible accuracy against one person", found.ceiling),
        ]
        alphas = [
            f"{kind} {_value(figure)}"
            for kind, figure in (("nominal", found.alpha_nominal), ("ordinal", found.alpha_ordinal))
            if figure.value is not None
        ]
        blocks.append(_plot(rows, "Agreement"))
        if alphas:
            blocks.append(
                Prose(f"Krippendorff's alpha, 0 for chance and 1 for perfect agreement: {', '.join(alphas)}.")
            )
    return Section("agreement", "How much people agree", tuple(blocks))


def agreement_sentence(question: Question) -> str:
    """How often two people agree, or why that is not known."""
    observed = question.agreement.observed
    if observed.value is None:
        return f"How much people agree is not known: {observed.reason or 'nothing was judged twice'}."
    told = f"Two people who judge the same pair give exactly the same answer {_share(observed)} of the time"
    ceiling = question.agreement.ceiling
    if ceiling.value is None:
        return f"{told}."
    best = percent(ceiling.value)
    return f"{told}. Without knowing who judges, the exact answer can hardly be foretold more than {best} of the time."


def influences(asked: Asked, question: Question | None, position: Effect | str) -> Section:
    """Position, length and ties."""
    blocks: list[Block] = [Prose(position_sentence(position))]
    if question is not None:
        longer = question.length.longer_won
        if longer.value is not None:
            what = "an association, not proof that length itself is liked"
            blocks.append(Prose(f"The longer text wins {_share(longer)} of decided comparisons: {what}."))
        rows = [("The side shown first wins", question.position.first_won), ("The longer text wins", longer)]
        if any(figure.value is not None for _, figure in rows):
            blocks.append(_plot([row for row in rows if row[1].value is not None], "Shares of decided comparisons"))
    blocks.append(Prose(ties_sentence(asked)))
    return Section("influences", "What else moved the votes", tuple(blocks))


def ties_sentence(asked: Asked) -> str:
    """How many answers name no winner, and what the model does with them."""
    answered = asked.decided + asked.ties
    if not asked.ties:
        return "No answer is a tie."
    words = (("tie", "plain ties"), ("both_good", "both good"), ("both_bad", "both bad"))
    parts = [
        f"{percent(asked.outcomes[name] / answered, 1)} {word}" for name, word in words if asked.outcomes.get(name)
    ]
    kinds_told = f" ({', '.join(parts)})" if len(parts) > 1 else ""
    return (
        f"{percent(asked.ties / answered, 1)} of the answers name no winner{kinds_told}. "
        "They are an outcome of their own in the model and not half a win for each side."
    )


def _plot(rows: list[tuple[str, Figure]], caption: str) -> Intervals:
    axis = Axis([0.0, 1.0], percent=True)
    drawn = []
    for label, figure in rows:
        if figure.value is None:
            drawn.append(Row(label, (), ("not computable", f"{figure.n:,}"), faint=True))
            continue
        low = figure.low if figure.low is not None else float("nan")
        high = figure.high if figure.high is not None else float("nan")
        mark = axis.mark(figure.value, low, high, title=f"{label}: {_share(figure)}")
        drawn.append(Row(label, (mark,), (_share(figure), f"{figure.n:,}")))
    return Intervals(
        caption=caption,
        label="",
        axis="share, with interval; dashed: one half",
        ticks=axis.ticks(),
        reference=axis.at(0.5),
        headings=headings("#Share", "#n"),
        rows=tuple(drawn),
    )


def _share(figure: Figure) -> str:
    assert figure.value is not None
    if figure.low is None or figure.high is None:
        return percent(figure.value, 1)
    return f"{percent(figure.value, 1)} ({percent(figure.low, 1)} to {percent(figure.high, 1)})"


def _value(figure: Figure) -> str:
    assert figure.value is not None
    if figure.low is None or figure.high is None:
        return number(figure.value)
    return f"{number(figure.value)} ({number(figure.low)} to {number(figure.high)})"
