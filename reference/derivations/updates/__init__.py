"""Update rules by hand, each from its paper, with the ways in which frameworks write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradconform.reference.derivations.updates.adafactor import adafactor, adafactor_clamped
from gradconform.reference.derivations.updates.adam import adam
from gradconform.reference.derivations.updates.adam_further import adamax, nadam, radam
from gradconform.reference.derivations.updates.adaptive import adadelta, adagrad, rmsprop
from gradconform.reference.derivations.updates.averaging import averaged_gradient, ema, mean
from gradconform.reference.derivations.updates.clipping import clip_by_norm, clip_by_value, total_norm
from gradconform.reference.derivations.updates.lbfgs import lbfgs, lbfgs_of_weights
from gradconform.reference.derivations.updates.muon import muon
from gradconform.reference.derivations.updates.rule import Rule
from gradconform.reference.derivations.updates.scaling import loss_scale, skipped, unscale
from gradconform.reference.derivations.updates.schedules import cosine, linear, step
from gradconform.reference.derivations.updates.sgd import sgd
from gradconform.reference.derivations.updates.signs import lion, rprop
from gradconform.reference.derivations.updates.trust import lamb, lars

#: The rules by name, as functions of their options.
RULES: Mapping[str, Callable[..., Rule]] = {
    f.__name__: f
    for f in (
        sgd,
        adam,
        nadam,
        adamax,
        radam,
        adagrad,
        adadelta,
        rmsprop,
        lion,
        rprop,
        lamb,
        lars,
        adafactor,
        adafactor_clamped,
        muon,
        lbfgs,
        lbfgs_of_weights,
        clip_by_value,
        clip_by_norm,
        total_norm,
        step,
        linear,
        cosine,
        averaged_gradient,
        ema,
        mean,
        unscale,
        skipped,
        loss_scale,
    )
}
