"""A small deterministic grid world: steps cost by the kind of field entered, until the goal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIZE, KINDS = 5, 3
MOVES = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])


@dataclass(frozen=True, eq=False)
class Grid:
    """Field s has kind `kind[s]`; `then[s, a]` is where action a leads; the last field is the goal and the end."""

    kind: np.ndarray

    @property
    def then(self) -> np.ndarray:
        row, column = np.divmod(np.arange(SIZE * SIZE), SIZE)
        rows = (row[:, None] + MOVES[:, 0]).clip(0, SIZE - 1)
        return rows * SIZE + (column[:, None] + MOVES[:, 1]).clip(0, SIZE - 1)

    @property
    def goal(self) -> int:
        return SIZE * SIZE - 1

    def features(self, entered: np.ndarray) -> np.ndarray:
        """[..., KINDS] of entering fields; nothing for entering the goal."""
        return np.eye(KINDS)[self.kind[entered]] * (entered != self.goal)[..., None]

    def plan(self, w: np.ndarray) -> np.ndarray:
        """Best action in each field, [S], for rewards w (negative) per kind: value iteration."""
        reward = self.features(self.then) @ w
        value = np.full(SIZE * SIZE, -1e3)
        value[self.goal] = 0
        for _ in range(4 * SIZE * SIZE):
            value = np.where(np.arange(SIZE * SIZE) == self.goal, 0, (reward + value[self.then]).max(1))
        return (reward + value[self.then]).argmax(1)

    def successors(self, actions: np.ndarray) -> np.ndarray:
        """Sums of features until the goal under a policy, [S, KINDS]."""
        total, at = np.zeros((SIZE * SIZE, KINDS)), np.arange(SIZE * SIZE)
        for _ in range(SIZE * SIZE):
            entered = np.where(at == self.goal, at, self.then[at, actions[at]])
            total += self.features(entered)
            at = entered
        assert (at == self.goal).all()
        return total

    def walks(self, n: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random segments: sums of features [n, KINDS], first and last field [n]."""
        start = rng.integers(self.goal, size=n)
        at, total = start.copy(), np.zeros((n, KINDS))
        for _ in range(length):
            entered = np.where(at == self.goal, at, self.then[at, rng.integers(4, size=n)])
            total += self.features(entered)
            at = entered
        return total, start, at
