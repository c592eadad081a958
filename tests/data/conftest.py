"""Small data sets that hold every odd thing a preference can be, each in its own data set."""

from datetime import UTC, datetime

import polars as pl
import pytest

from preflearn.data.tables import PreferenceData

TIME = datetime(2024, 5, 17, 12, 30, 15, 123456, tzinfo=UTC)


def frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame(columns, strict=False)


def ranking_with_tie_and_unranked() -> PreferenceData:
    return PreferenceData(
        prompts=frame(prompt_id=["p"], messages=["Name a colour."]),
        responses=frame(
            response_id=["w", "x", "y", "z"],
            prompt_id=["p"] * 4,
            system=["s1", "s2", "s3", "s4"],
            messages=["red", "blue", "green", "soup"],
        ),
        annotators=frame(annotator_id=["u"], kind=["person"], group=["g"]),
        rankings=frame(
            ranking_id=["k"],
            responses=[["w", "x", "y", "z"]],
            ranks=[[2, 1, 2, None]],
            kind=["partial"],
            shown_order=[[3, 0, 1, 2]],
            annotator_id=["u"],
            presentation_id=["show1"],
            time=[TIME],
        ),
    )


def pair_with_different_prompts() -> PreferenceData:
    return PreferenceData(
        prompts=frame(prompt_id=["p", "q"], messages=["Say hi.", "Greet me."], language=["en", "en"]),
        responses=frame(response_id=["x", "y"], prompt_id=["p", "q"], messages=["hi", "hello"]),
        comparisons=frame(
            comparison_id=["c"], response_a=["x"], response_b=["y"], outcome=["b"], annotator_id=["u"], strength=[2]
        ),
        annotators=frame(annotator_id=["u"]),
    )


def image_under_two_captions() -> PreferenceData:
    picture = [{"role": "assistant", "content": None, "name": None, "media": ["img"]}]
    return PreferenceData(
        prompts=frame(prompt_id=["cat", "dog"], messages=["a cat", "a dog"]),
        responses=frame(
            response_id=["img@cat", "img@dog"],
            prompt_id=["cat", "dog"],
            messages=[picture, picture],
            media=[["img"], ["img"]],
            content_hash=["h1", "h1"],
        ),
        media=frame(media_id=["img"], kind=["image"], uri=["img.png"], mime=["image/png"]),
        criteria=frame(criterion_id=["alignment"], scale=["interval"], low=[0.0], high=[5.0]),
        annotators=frame(annotator_id=["u"]),
        ratings=frame(
            rating_id=["r1", "r2"],
            response_id=["img@cat", "img@dog"],
            value=[4.5, 1.0],
            criterion_id=["alignment", "alignment"],
            annotator_id=["u", "u"],
        ),
    )


def segment_level_tie() -> PreferenceData:
    return PreferenceData(
        prompts=frame(prompt_id=["p"], messages=["Translate: Haus"]),
        responses=frame(
            response_id=["x", "y", "x:0", "y:0"],
            prompt_id=["p"] * 4,
            messages=["house, big", "home, large", "house", "home"],
            part_of=[None, None, "x", "y"],
            start=[None, None, 0.0, 0.0],
            end=[None, None, 5.0, 4.0],
            unit=[None, None, "character", "character"],
        ),
        comparisons=frame(comparison_id=["c"], response_a=["x:0"], response_b=["y:0"], outcome=["tie"]),
    )


def step_label() -> PreferenceData:
    return PreferenceData(
        prompts=frame(prompt_id=["p"], messages=["2 + 2 * 2 = ?"]),
        responses=frame(
            response_id=["x", "x:1"],
            prompt_id=["p", "p"],
            messages=["2 * 2 = 4\n2 + 4 = 7", "2 + 4 = 7"],
            part_of=[None, "x"],
            start=[None, 1.0],
            end=[None, 2.0],
            unit=[None, "step"],
        ),
        criteria=frame(criterion_id=["correct"], scale=["class"]),
        ratings=frame(rating_id=["r"], response_id=["x:1"], label=["-1"], criterion_id=["correct"]),
    )


def joint_candidate_set() -> PreferenceData:
    return PreferenceData(
        prompts=frame(prompt_id=["p"], messages=["Suggest films."]),
        responses=frame(
            response_id=["a1", "a2", "b1", "b2", "A", "B"],
            prompt_id=["p"] * 6,
            messages=["Alien", "Heat", "Up", "Her", None, None],
            set_id=["A", "A", "B", "B", None, None],
            generation=['{"draw": "joint"}'] * 4 + [None, None],
            members=[None, None, None, None, ["a1", "a2"], ["b1", "b2"]],
        ),
        comparisons=frame(comparison_id=["c"], response_a=["A"], response_b=["B"], outcome=["a"]),
    )


def follow_up_turn() -> PreferenceData:
    first = [{"role": "user", "name": None, "content": "Hi", "media": None}]
    second = [
        *first,
        {"role": "assistant", "name": "m", "content": "Hello!", "media": None},
        {"role": "user", "name": None, "content": "More?", "media": None},
    ]
    return PreferenceData(
        prompts=frame(prompt_id=["t0", "t1"], messages=[first, second], conversation_id=["conv", "conv"], turn=[0, 1]),
        responses=frame(
            response_id=["x", "y", "z", "w"],
            prompt_id=["t0", "t0", "t1", "t1"],
            messages=["Hello!", "Hey", "Sure", "No"],
        ),
        annotators=frame(annotator_id=["u"], kind=["person"]),
        comparisons=frame(
            comparison_id=["c0", "c1"],
            response_a=["x", "z"],
            response_b=["y", "w"],
            outcome=["a", "b"],
            annotator_id=["u", "u"],
        ),
        signals=frame(
            signal_id=["s"], response_id=["x"], annotator_id=["u"], kind=["follow_up"], follow_up_prompt_id=["t1"]
        ),
    )


def soft_label() -> PreferenceData:
    return PreferenceData(
        prompts=frame(prompt_id=["p"], messages=["Rhyme."]),
        responses=frame(response_id=["x", "y"], prompt_id=["p", "p"], messages=["cat hat", "dog"]),
        annotators=frame(annotator_id=["judge"], kind=["judge"], model=["a-judge"]),
        comparisons=frame(
            comparison_id=["c"],
            response_a=["x"],
            response_b=["y"],
            outcome=pl.Series([None], dtype=pl.String),
            probability=[0.83],
            probability_tie=[0.05],
            annotator_id=["judge"],
        ),
    )


def mean_of_25_ratings() -> PreferenceData:
    return PreferenceData(
        responses=frame(response_id=["x"], media=[["img"]]),
        media=frame(media_id=["img"], kind=["image"]),
        criteria=frame(criterion_id=["quality"], scale=["interval"], low=[0.0], high=[5.0], higher_is_better=[True]),
        ratings=frame(
            rating_id=["r"], response_id=["x"], value=[3.42], spread=[0.61], count=[25], criterion_id=["quality"]
        ),
    )


def counted_row() -> PreferenceData:
    return PreferenceData(
        responses=frame(response_id=["m1", "m2"], system=["m1", "m2"]),
        comparisons=frame(
            comparison_id=["c"], response_a=["m1"], response_b=["m2"], outcome=["both_bad"], count=[137], weight=[0.5]
        ),
    )


def unlabelled_pair() -> PreferenceData:
    return PreferenceData(
        prompts=frame(prompt_id=["p"], messages=["Grüß Gott 👋"]),
        responses=frame(response_id=["x", "y"], prompt_id=["p", "p"], messages=["Hallo", ""]),
        comparisons=frame(
            comparison_id=["c"], response_a=["x"], response_b=["y"], shown_first=["b"], propensity=[0.25]
        ),
    )


CASES = {
    build.__name__: build
    for build in (
        ranking_with_tie_and_unranked,
        pair_with_different_prompts,
        image_under_two_captions,
        segment_level_tie,
        step_label,
        joint_candidate_set,
        follow_up_turn,
        soft_label,
        mean_of_25_ratings,
        counted_row,
        unlabelled_pair,
    )
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> PreferenceData:
    """Each odd data set in turn."""
    return CASES[request.param]()


@pytest.fixture
def cases() -> dict[str, PreferenceData]:
    """All of them by name."""
    return {name: build() for name, build in CASES.items()}
