"""Derivative rules of complex numbers and Fourier transforms as people write them, right and wrong.

They are written by PyTorch's convention: of a real L the adjoint of z = x + iy is ∂L/∂x + i·∂L/∂y, so that a
holomorphic function multiplies it by the conjugate of its derivative. JAX's adjoints are the conjugates of these.
"""

from __future__ import annotations

from wrong_rules import Rule, Shape


def _c(name: str, fault: str, shapes: tuple[Shape, ...], forward: str, right: str, wrong: str,
       complex: str = "xyz") -> Rule:  # fmt: skip
    return Rule(name, fault, shapes, forward, right, wrong, complex=complex)


V, S = (4,), (2, 2)

COMPLEX_RULES: tuple[Rule, ...] = (
    # Products and quotients
    _c("ComplexProduct", "conjugate missing", (V, V), "x * y", "(g * conj(y), g * conj(x))", "(g * y, g * x)"),
    _c("ComplexProductOne", "conjugate missing in one", (V, V), "x * y", "(g * conj(y), g * conj(x))",
       "(g * conj(y), g * x)"),
    _c("ComplexSquare", "conjugate missing", (V,), "x * x", "2 * g * conj(x)", "2 * g * x"),
    _c("ComplexQuotient", "divisor missing", (V, V), "x / y", "(g / conj(y), -g * conj(x / y) / conj(y))",
       "(g / conj(y), -g * conj(x) / conj(y))"),
    _c("ComplexReciprocal", "conjugate missing", (V,), "1 / x", "-g * conj(1 / x) ** 2", "-g * (1 / x) ** 2"),
    _c("ComplexMatrices", "transpose for adjoint", (S, S), "x @ y", "(g @ conj(y).T, conj(x).T @ g)",
       "(g @ y.T, x.T @ g)"),
    _c("ComplexScale", "conjugate missing of a constant", (V,), "(2 + 1j) * x", "(2 - 1j) * g", "(2 + 1j) * g"),
    # Parts, modulus, angle
    _c("Conjugate", "not conjugated", (V,), "2 * conj(x)", "2 * conj(g)", "2 * g"),
    _c("RealPart", "of both parts", (V,), "real(x)", "g + 0j", "g + 1j * g"),
    _c("ImaginaryPart", "sign of the imaginary part", (V,), "imag(x)", "1j * g", "-1j * g"),
    _c("ComplexModulus", "sign of the imaginary part", (V,), "abs(x)", "g * x / abs(x)", "g * conj(x) / abs(x)"),
    _c("ModulusSquared", "half of it, as by Wirtinger", (V,), "real(x * conj(x))", "2 * g * x", "g * x"),
    _c("ComplexAngle", "sign", (V,), "angle(x)", "1j * g * x / abs(x) ** 2", "-1j * g * x / abs(x) ** 2"),
    # Functions
    _c("ComplexExponential", "conjugate missing", (V,), "exp(x)", "g * conj(exp(x))", "g * exp(x)"),
    _c("ComplexLogarithm", "conjugate missing", (V,), "log(x)", "g / conj(x)", "g / x"),
    _c("ComplexRoot", "conjugate missing", (V,), "sqrt(x)", "g / (2 * conj(sqrt(x)))", "g / (2 * sqrt(x))"),
    _c("ComplexSine", "conjugate missing", (V,), "sin(x)", "g * conj(cos(x))", "g * cos(x)"),
    # Fourier transforms
    _c("Fourier", "inverse without its length", (V,), "fft(x)", "4 * ifft(g)", "ifft(g)"),
    _c("FourierForward", "transformed forward", (V,), "fft(x)", "4 * ifft(g)", "fft(g)"),
    _c("FourierInverse", "not divided by the length", (V,), "ifft(x)", "fft(g) / 4", "fft(g)"),
    _c("FourierUnitary", "scaled twice", (V,), "fft(x) / 2", "2 * ifft(g)", "4 * ifft(g)"),
    _c("FourierPower", "length missing", (V,), "real(fft(x) * conj(fft(x)))", "8 * ifft(g * fft(x))",
       "2 * ifft(g * fft(x))"),
    _c("FourierReal", "bins counted twice", ((8,),), "rfft(x)", "8 * real(ifft(g, 8))", "8 * irfft(g, 8)", "g"),
    _c("FourierToReal", "doubled bins missing", ((5,),), "irfft(x, 8)",
       "rfft(g) * row([1.0, 2.0, 2.0, 2.0, 1.0], g) / 8", "rfft(g) / 8"),
    _c("Convolved", "kernel's transform not conjugated", (V, V), "ifft(fft(x) * fft(y))",
       "(ifft(fft(g) * conj(fft(y))), ifft(fft(g) * conj(fft(x))))", "(ifft(fft(g) * fft(y)), ifft(fft(g) * fft(x)))"),
)  # fmt: skip
