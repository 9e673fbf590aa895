"""What both kinds of check share: the trace by equation, and which of two step judgements binds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradconform.adapters.contract import Trace
from gradconform.reference.equations import Derivation
from gradconform.reference.judge import Judgement


def widened(strict: Judgement, loose: Judgement, binds: bool, reason: str | None) -> tuple[Judgement, str | None]:
    """Hypothesis 9: which of the two judgements holds, the one with operands known exactly or to half an ulp."""
    if loose.verdict in ("deviates", "undecided") or not (binds or strict.verdict == "deviates"):
        return strict, reason
    if not binds:
        return strict, "operands: conforms if they are known to half an ulp only"
    if strict.verdict != "deviates":
        return strict, reason
    return replace(loose, sharpest_share=strict.sharpest_share, accepted_form=f"{loose.accepted_form} ±½ulp"), reason


def same_bits(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two sets of values are the same numbers; NaN is NaN, and zeros are equal whatever their sign."""
    return all(np.array_equal(x, b[n]) or np.array_equal(x, b[n], equal_nan=True) for n, x in a.items())


def reports(derivation: Derivation, trace: Trace) -> dict[str, Any]:
    """Every value of a trace under the name of the equation that it is checked by, in the derivation's order."""
    values = {
        **trace.values,
        **{derivation.adjoint(n): v for n, v in trace.adjoints.items()},
        **{derivation.gradient[w]: v for w, v in trace.gradient.items()},
        **{derivation.updated[w]: v for w, v in trace.updated.items()},
    }
    return {e.name: values[e.name] for e in derivation.equations if e.name in values}
