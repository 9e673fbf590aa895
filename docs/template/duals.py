from collections import namedtuple
from types import SimpleNamespace

import numpy as np

from gradconform.adapters import Answer, Route


class Dual(namedtuple("Dual", "value slope")):
    def __add__(self, other):
        return Dual(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other):
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other):
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __rmul__(self, number):
        return Dual(number * self.value, number * self.slope)

    def __pow__(self, two):
        return self * self

    def sigmoid(self):
        a = 1 / (1 + np.exp(-self.value))
        return Dual(a, self.slope * a * (1 - a))


def answer(point, route):
    number = np.dtype(point.dtype).type
    gradient, updated = {}, {}
    for w in point.parameters:
        values = {n: Dual(number(v), number(n == w)) for n, v in point.values.items()}
        loss = point.forward(Dual, values)[point.loss]
        gradient[w], updated[w] = float(loss.slope), float(values[w].value - number(point.rate) * loss.slope)
    return Answer(float(loss.value), gradient, updated)


adapter = SimpleNamespace(name="duals", routes=(Route("forward", dtypes=("float64", "float32")),), answer=answer)
