"""HIPS autograd, judged by gradconform: its operations, its gradient with an update, and a trace of both."""

from importlib import metadata

import autograd.numpy as np
from autograd import value_and_grad
from autograd.scipy.special import erf
from autograd.tracer import getval

from gradconform.adapters import Answer, Route, Trace


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softplus(z):
    return np.logaddexp(z, 0)


def elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def log_softmax(z):
    shifted = z - np.max(z, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def loss(terms):
    """A loss of outputs, targets and reduction, from the terms that it adds up or takes the mean of."""
    return lambda a, t, reduction: np.sum(terms(a, t)) if reduction == "sum" else np.mean(terms(a, t))


class Operations:
    """What `point.forward` asks for by name: a layer's linear part, its activation, and the loss."""

    linear = staticmethod(lambda x, w, b: np.dot(x, w.T) if b is None else np.dot(x, w.T) + b)
    sigmoid, softplus, elu = staticmethod(sigmoid), staticmethod(softplus), staticmethod(elu)
    tanh = staticmethod(np.tanh)
    relu = staticmethod(lambda z: np.maximum(z, 0))
    leaky_relu = staticmethod(lambda z: np.where(z > 0, z, 0.01 * z))
    selu = staticmethod(lambda z: 1.0507009873554804934 * elu(z, 1.6732632423543772848))
    silu = staticmethod(lambda z: z * sigmoid(z))
    mish = staticmethod(lambda z: z * np.tanh(softplus(z)))
    hard_tanh = staticmethod(lambda z: np.clip(z, -1, 1))
    gelu = staticmethod(lambda z: 0.5 * z * (1 + erf(z * 0.7071067811865475244)))
    gelu_tanh = staticmethod(lambda z: 0.5 * z * (1 + np.tanh(0.7978845608028653559 * (z + 0.044715 * z**3))))
    softmax = staticmethod(lambda z: np.exp(log_softmax(z)))
    half_squared_error = staticmethod(loss(lambda a, t: 0.5 * (t - a) ** 2))
    squared_error = staticmethod(loss(lambda a, t: (t - a) ** 2))
    l1 = staticmethod(loss(lambda a, t: np.abs(t - a)))
    softmax_cross_entropy = staticmethod(loss(lambda z, t: -np.sum(t * log_softmax(z), axis=1)))
    binary_cross_entropy_with_logits = staticmethod(loss(lambda z, t: softplus(z) - t * z))


def answer(point, route):
    number = np.dtype(point.dtype).type
    values = {n: np.asarray(v, number)[()] for n, v in point.values.items()}
    weights = {w: values.pop(w) for w in point.parameters}
    zeros = {n: np.zeros(point.shapes[n], number)[()] for n in point.intermediates}
    computed = {}

    def traced(given):
        def tap(name, value):  # the derivative by a zero that is added to a quantity is the quantity's adjoint
            value = value + given["zeros"][name] if name in zeros else value
            computed[name] = getval(value)
            return value

        return point.forward(Operations, {**values, **given["weights"]}, tap)[point.loss]

    value, slopes = value_and_grad(traced)({"weights": weights, "zeros": zeros})
    gradient = slopes["weights"]
    updated = {w: weights[w] - number(point.rate) * gradient[w] for w in weights}
    return Answer(value, gradient, updated, Trace(computed, slopes["zeros"], gradient, updated))


class Hips:
    name = "hips"
    routes = (Route("reverse", "autograd.value_and_grad", dtypes=("float64", "float32")),)
    answer = staticmethod(answer)
    versions = staticmethod(lambda: {"autograd": metadata.version("autograd")})


adapter = Hips()
