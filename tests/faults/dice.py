# SPDX-License-Identifier: Apache-2.0
"""Faults by chance, the same for the same seed as far as the order of operations is."""
import random

from wire import kinds_for

# How often one of them is thrown, compared with an error answer.
WEIGHT = {"kill-before": 6, "kill-after": 6, "zombie-before": 3, "zombie-after": 3,
          "term-before": 2, "term-after": 2, "hup": 1, "cut": 3, "lost": 6, "half": 3,
          "flush": 1, "rollback": 8}


class Dice:
    """Throws up to `most` faults in a run."""

    def __init__(self, lab, seed):
        self.lab = lab
        self.chance = random.Random(f"faults {seed}")
        self.left = self.chance.choice((1, 2, 3, 4, 6, 9))
        self.rate = self.chance.choice((0.01, 0.03, 0.1))
        self.daemons = self.chance.choice((1, 1, 2, 3))
        self.rolls_back = self.chance.random() < 0.25  # such a run costs more: all is recorded

    def throw(self, op):
        """The kind of fault that strikes this operation, or None."""
        if self.left <= 0 or op.idle or self.chance.random() > self.rate:
            return None
        kinds = [kind for kind in kinds_for(op.service, op.verb)
                 if kind != "rollback" or self.rolls_back]
        kind = self.chance.choices(kinds, [WEIGHT.get(name, 1) for name in kinds])[0]
        if kind.startswith("zombie") and not self.lab.may_stand():
            return None
        self.left -= 1
        return kind
