"""Draw the layers of the house (docs/images/layers.svg) from one list of rooms."""

from pathlib import Path

LAYERS = [
    ("roof", [("cli", "commands"), ("experiments", "proofs")]),
    ("6", [("report", "HTML pages"), ("serve", "web application")]),
    ("5", [("evaluate", "battery, describe"), ("explain", "what is preferred"), ("collect", "studies, store")]),
    ("4", [("align", "objectives, games, guards")]),
    ("3", [("curate", "tables in, tables out")]),
    (
        "2",
        [
            ("ranking", "named systems"),
            ("models", "content"),
            ("judges", "LLM judges"),
            ("policies", "text, diffusion, control"),
            ("simulate", "known tastes"),
        ],
    ),
    ("1", [("choice", "likelihood parts"), ("train", "the loop"), ("backbones", "LMs, encoders")]),
    (
        "0",
        [
            ("data", "nine tables"),
            ("protocols", "contracts"),
            ("registry", "catalogue"),
            ("errors", "what, where, cure"),
        ],
    ),
]
BUILT = {
    "cli",
    "experiments",
    "report",
    "evaluate",
    "ranking",
    "simulate",
    "models",
    "choice",
    "train",
    "backbones",
    "data",
    "protocols",
    "registry",
    "errors",
}
WIDTH, ROW, GAP, LEFT = 900, 56, 10, 60


def main() -> None:
    """Write the picture."""
    height = len(LAYERS) * (ROW + GAP) + 60
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" aria-labelledby="t">',
        '<title id="t">The layers of preflearn: a room imports only from layers below it</title>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for index, (name, rooms) in enumerate(LAYERS):
        y = 20 + index * (ROW + GAP)
        out.append(
            f'<text x="{LEFT - 14}" y="{y + ROW / 2 + 5}" text-anchor="end" font-size="15" fill="#555">{name}</text>'
        )
        width = (WIDTH - LEFT - 20 - GAP * (len(rooms) - 1)) / len(rooms)
        for k, (room, what) in enumerate(rooms):
            x = LEFT + k * (width + GAP)
            built = room in BUILT
            fill, stroke = ("#e4efe9", "#2f6f57") if built else ("#f6f6f4", "#b9b9b4")
            dash = "" if built else ' stroke-dasharray="5 4"'
            out.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW}" rx="6" fill="{fill}" stroke="{stroke}"{dash}/>'
                f'<text x="{x + width / 2:.1f}" y="{y + 24}" text-anchor="middle" font-size="16" font-weight="600" '
                f'fill="#1c2b25">{room}</text>'
                f'<text x="{x + width / 2:.1f}" y="{y + 43}" text-anchor="middle" font-size="12.5" fill="#555">{what}</text>'
            )
    foot = "A room imports only from layers below it. Solid: stands. Dashed: planned."
    out.append(f'<text x="{LEFT}" y="{height - 16}" font-size="13" fill="#555">{foot}</text></svg>')
    Path(__file__).parents[2].joinpath("docs/images/layers.svg").write_text("\n".join(out) + "\n", "utf-8")


if __name__ == "__main__":
    main()
