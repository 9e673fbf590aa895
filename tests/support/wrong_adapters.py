"""Adapters that are wrong on purpose, for subprocesses to import."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from tests_support import Scripted

from gradconform.adapters.contract import Answer, Form
from gradconform.reference.cases import Point


class Named(Scripted):
    def __init__(self, name: str, spoil: object) -> None:
        super().__init__(spoil)  # type: ignore[arg-type]
        self.name = name


def _flip(point: Point, answer: Answer) -> Answer:
    return replace(answer, gradient={**answer.gradient, "w1": -answer.gradient["w1"]})


flipped = Named("flipped", _flip)
crashing = Named("crashing", lambda point, answer: 1 / 0)
correct = Named("correct", lambda point, answer: answer)


class WrongSignature:
    name = "wrong-signature"
    routes = flipped.routes

    def answer(self, point: Point) -> None: ...


wrong_signature = WrongSignature()


class Misproved(Named):
    """It brings a form that is not equal to what it says it is."""

    forms: ClassVar = {"sigmoid'": [Form("g(1-a)", ("g", "a"), lambda ops, g, a: g * (1 - a), "a slip")]}


misproved = Misproved("misproved", lambda point, answer: answer)
