"""Update rules by hand, each from its paper, with the ways in which frameworks write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradconform.reference.derivations.updates.adam import adam
from gradconform.reference.derivations.updates.rule import Rule
from gradconform.reference.derivations.updates.sgd import sgd

#: The rules by name, as functions of their options.
RULES: Mapping[str, Callable[..., Rule]] = {"sgd": sgd, "adam": adam}
