"""Values of the table's functions over balls, where `arb` has none that hold for every ball.

Each encloses the function over the whole ball. Poles, overflow and arguments outside the domain give a ball that is not
finite; nothing raises. Where an intermediate overflows and the value does not (σ at −1e300) the tail is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flint import acb, acb_series, arb, ctx

Ball = Callable[[arb], arb]
NAN = arb.nan()
#: Terms of the series of ∂P(a, x)/∂a that are summed at most: beyond it the value is not known.
MOST_TERMS = 20_000
#: Parameters of I_x(a, b) from which on all that is said is that it lies between 0 and 1: arb takes 3 seconds there.
MOST_PARAMETER = 1 << 20


# Wide balls -----------------------------------------------------------------------------------------------------------


def monotone(f: Ball) -> Ball:
    """f, which is monotone: over a wide ball, what lies between its values at the ends."""

    def ball(x: arb) -> arb:
        found = f(x)
        if x.is_exact() or found.rel_accuracy_bits() > 20:
            return found
        return sharper(f(x.lower()).union(f(x.upper())), found)

    return ball


def sharper(a: arb, b: arb) -> arb:
    """The narrower of two enclosures of the same numbers."""
    if not (a.is_finite() and b.is_finite()):
        return a if a.is_finite() else b
    return a if a.rad() < b.rad() else b


def within(found: arb, low: float, high: float) -> arb:
    """An enclosure of what lies between two bounds."""
    return sharper(found, arb(low).union(arb(high)))


def steady(f: Ball) -> Ball:
    """f, whose derivative is nowhere beyond ±1: over a wide ball, no further from its middle than x is."""

    def ball(x: arb) -> arb:
        found = f(x)
        if x.is_exact() or found.rel_accuracy_bits() > 20:
            return found
        return sharper(f(x.mid()) + arb(0, x.rad()), found)

    return ball


def whole(x: arb) -> int | None:
    """The integer that an order is; None where it is none."""
    return _integer(x) if x.is_exact() and x.is_integer() and abs(x) < 1 << 20 else None


def _integer(x: arb) -> int:
    found = x.unique_fmpz()
    assert found is not None
    return int(found)


def _of_order(f: Callable[[int, arb], arb]) -> Callable[[arb, arb], arb]:
    def ball(n: arb, x: arb) -> arb:
        order = whole(n)
        return NAN if order is None else f(order, x)

    return ball


# Exponentials and logarithms ------------------------------------------------------------------------------------------


def _sigmoid(x: arb) -> arb:
    if x < 0:
        e = x.exp()
        return e / (1 + e)
    return 1 / (1 + (-x).exp())


def _softplus(x: arb) -> arb:
    return x + (-x).exp().log1p() if x > 0 else x.exp().log1p()


def _hyperbolic_secant(x: arb) -> arb:
    e = (-abs(x)).exp()
    return 2 * e / (1 + e * e)


sigmoid, softplus = monotone(_sigmoid), monotone(_softplus)
exp10 = monotone(lambda x: (x * arb.const_log10()).exp())
tanh = monotone(lambda x: x.tanh())


def sech(x: arb) -> arb:
    """1/cosh x, which is at most 1."""
    return within(_hyperbolic_secant(x), 0, 1) if x.is_finite() else _hyperbolic_secant(x)


def log_sigmoid(x: arb) -> arb:
    return -softplus(-x)


def logaddexp(x: arb, y: arb) -> arb:
    """log(e^x + e^y); of −∞ and y it is y, of ∞ it is ∞."""
    for a, b in ((x, y), (y, x)):
        if a.is_exact() and not a.is_finite() and not a.is_nan():
            return b if a < 0 else a
    d = x - y
    return x + softplus(-d) if d > 0 else y + softplus(d)


def logaddexp2(x: arb, y: arb) -> arb:
    ln2 = arb.const_log2()
    return logaddexp(x * ln2, y * ln2) / ln2


def log_hypot(x: arb, y: arb) -> arb:
    """log √(x² + y²)."""
    return (x * x + y * y).log() / 2


@monotone
def logit(x: arb) -> arb:
    """log(x/(1−x))."""
    return (x / (1 - x)).log() if x < 0.5 else -((1 - x) / x).log()


def logarithm(x: arb) -> arb:
    """log x; −∞ at 0, whose exponential is 0."""
    return arb.neg_inf() if x.is_zero() else x.log()


def log1p(x: arb) -> arb:
    return arb.neg_inf() if (1 + x).is_zero() else x.log1p()


def xlogy(x: arb, y: arb) -> arb:
    """x·log y; 0 where x is."""
    return arb(0) if x.is_zero() and not y.is_nan() else x * y.log()


def xlog1py(x: arb, y: arb) -> arb:
    return arb(0) if x.is_zero() and not y.is_nan() else x * y.log1p()


def entr(x: arb) -> arb:
    """−x·log x, 0 at 0, −∞ below."""
    return arb.neg_inf() if x < 0 else -xlogy(x, x)


# Powers ---------------------------------------------------------------------------------------------------------------


def raised(x: arb, n: int) -> arb:
    """x^n. FLINT's own is nan over a ball whose middle is 0, and of −∞."""
    if x < 0 and not x.is_finite():
        return -((-x) ** n) if n % 2 else (-x) ** n
    if x.is_exact() or x > 0 or x < 0 or not x.is_finite():
        return x**n
    if n <= 0:
        return arb(1) if n == 0 else NAN
    largest = abs(x).upper() ** n
    return arb(0).union(largest) if n % 2 == 0 else (-largest).union(largest)


def power(x: arb, y: arb) -> arb:
    """x^y; of a negative base where the exponent is an integer; 0^0 is 1."""
    if y.is_exact() and y.is_integer():
        n = _integer(y)
        if abs(n) < 1 << 20:
            return raised(x, n)
        if x < 0:
            return -((-x) ** y) if n % 2 else (-x) ** y
    if y > 0 and x >= 0 and not x > 0:
        return arb(0) if x.is_zero() else arb(0).union(x.upper() ** y)
    return x**y


def power_derivative(k: arb, n: arb, x: arb, y: arb) -> arb:
    """∂^(k+n) x^y / ∂x^k ∂y^n = Σ_j C(n, j)·P^(j)(y)·x^(y−k)·log(x)^(n−j) with P(y) = y(y−1)…(y−k+1).

    What is multiplied by an exact 0 is left out, and 0^e·log(0)^m is its limit 0 where e > 0.
    """
    by_base, by_exponent = whole(k), whole(n)
    if by_base is None or by_exponent is None:
        return NAN
    polynomial = [1]  # P's coefficients, the constant first
    for i in range(by_base):
        by_y, by_i = [0, *polynomial], [*polynomial, 0]
        polynomial = [a - i * b for a, b in zip(by_y, by_i, strict=True)]
    total = arb(0)
    for j in range(by_exponent + 1):
        factor = math.comb(by_exponent, j) * sum((c * raised(y, d) for d, c in enumerate(polynomial)), arb(0))
        if not factor.is_zero():
            total += factor * _power_and_logs(x, y - by_base, by_exponent - j)
        polynomial = [d * c for d, c in enumerate(polynomial)][1:]
    return total


def _power_and_logs(x: arb, exponent: arb, logs: int) -> arb:
    if logs == 0:
        return power(x, exponent)
    if x.is_zero():
        return arb(0) if exponent > 0 else NAN
    return power(x, exponent) * raised(x.log(), logs)


@monotone
def cube_root(x: arb) -> arb:
    return x.root(3) if x > 0 else -((-x).root(3)) if x < 0 else arb(0) if x.is_zero() else NAN


def fmod(x: arb, y: arb) -> arb:
    """x − y·trunc(x/y), with the sign of x."""
    q = x / y
    times = q.floor() if q >= 0 else -((-q).floor()) if q <= 0 else arb(0, abs(q).upper())
    return x if times.is_zero() else x - y * times  # an infinite y is taken no times from a number


def remainder(x: arb, y: arb) -> arb:
    """x − y·floor(x/y), with the sign of y."""
    return x - y * (x / y).floor()


def sign(x: arb) -> arb:
    return x.sgn()


# Sines ----------------------------------------------------------------------------------------------------------------


def sinc(x: arb) -> arb:
    """sin(πx)/(πx), 1 at 0, as NumPy, PyTorch and JAX have it."""
    return x.sinc_pi()


@_of_order
def sinc_derivative(n: int, x: arb) -> arb:
    """The n-th derivative of sin(πx)/(πx), which is ∫_0^1 (πt)^n·cos(πxt + nπ/2) dt, at most π^n/(n+1)."""
    if n < 0:
        return NAN
    bound = (arb.pi() ** n / (n + 1)).upper()
    size = abs(x)
    if not x.is_finite():
        return NAN
    if size > max(1, n):
        # From x·s = sin(πx)/π: x·s^(m) + m·s^(m−1) = π^(m−1)·sin(πx + mπ/2).
        found = sinc(x)
        for m in range(1, n + 1):
            found = (arb.pi() ** (m - 1) * (x + arb(m) / 2).sin_pi() - m * found) / x
    elif size < max(2, n + 1):
        found = _sinc_series(n, x)
    else:
        found = arb(0, bound)
    return sharper(found, arb(0, bound))


def _sinc_series(n: int, x: arb) -> arb:
    """Σ_k (−1)^k π^2k·x^(2k−n)·(2k)!/(2k−n)!/(2k+1)! over 2k ≥ n."""
    total, k = arb(0), (n + 1) // 2
    square = raised(arb.pi() * x, 2)
    term = arb.pi() ** (2 * k) * raised(x, 2 * k - n) * math.perm(2 * k, n) / math.factorial(2 * k + 1)
    while True:
        total += -term if k % 2 else term
        left = abs(term).upper()
        ratio = square * ((2 * k + 2) * (2 * k + 1)) / ((2 * k + 2 - n) * (2 * k + 1 - n))
        ratio /= (2 * k + 3) * (2 * k + 2)
        if ratio < 0.5 and not left > abs(total).upper() * arb(2) ** -(ctx.prec + 10):
            return total + arb(0, left)  # what is left is below a geometric series of half the last term
        term, k = term * ratio, k + 1


# Error functions ------------------------------------------------------------------------------------------------------


@monotone
def erfcx(x: arb) -> arb:
    """e^(x²)·erfc x, by Kummer's U where the exponential would overflow (DLMF 7.11.4)."""
    if x > 3:
        return (x * x).hypgeom_u(arb(0.5), arb(0.5)) / arb.pi().sqrt()
    return (x * x).exp() * x.erfc()


erf, erfc = monotone(lambda x: x.erf()), monotone(lambda x: x.erfc())
erfinv, erfcinv = monotone(lambda x: x.erfinv()), monotone(lambda x: x.erfcinv())


@monotone
def ndtr(x: arb) -> arb:
    """The normal distribution's Φ."""
    return (-x / arb(2).sqrt()).erfc() / 2


@monotone
def log_ndtr(x: arb) -> arb:
    root = arb(2).sqrt()
    if x < 0:
        return (erfcx(-x / root) / 2).log() - x * x / 2
    return (-(x / root).erfc() / 2).log1p()


def ndtri(p: arb) -> arb:
    """Φ's inverse."""
    return -arb(2).sqrt() * erfcinv(2 * p)


@monotone
def inverse_mills(x: arb) -> arb:
    """φ/Φ, the derivative of log Φ; falling."""
    if x < 0:
        return (2 / arb.pi()).sqrt() / erfcx(-x / arb(2).sqrt())
    return (-x * x / 2).exp() / (2 * arb.pi()).sqrt() / ndtr(x)


@steady
def dawsn(x: arb) -> arb:
    """e^(−x²)·∫_0^x e^(t²) dt (DLMF 7.5.1, 13.6.7)."""
    return x * (-x * x).hypgeom_1f1(arb(1), arb(1.5))


# Gamma functions ------------------------------------------------------------------------------------------------------


def gamma(x: arb) -> arb:
    return x.gamma()


def lgamma(x: arb) -> arb:
    """log|Γ(x)|."""
    if x < 0.5:
        return (arb.pi() / abs(x.sin_pi())).log() - (1 - x).lgamma()
    return x.lgamma()


def _between_poles(x: arb) -> bool:
    """Whether no pole of Γ is in a ball."""
    return bool(x > 0) or (x.is_finite() and x < 0 and bool(x.lower().floor() == x.upper().floor()))


def digamma(x: arb) -> arb:
    """ψ, which rises between poles."""
    return monotone(lambda t: t.digamma())(x) if _between_poles(x) else x.digamma()


@_of_order
def polygamma(n: int, x: arb) -> arb:
    if n < 0 or not x.is_finite():
        return NAN
    if n == 0:
        return digamma(x)

    def of(t: arb) -> arb:
        return acb(t).polygamma(acb(n)).real

    if x > 0:
        return monotone(of)(x)
    # DLMF 5.15.6: the n-th derivative of π·cot(πx), a polynomial in the cotangent.
    polynomial = [0, 1]
    for _ in range(n):
        slope = [d * c for d, c in enumerate(polynomial)][1:]
        polynomial = [-a - b for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
    cotangent = x.cot_pi()
    reflected = sum((c * raised(cotangent, d) for d, c in enumerate(polynomial)), arb(0)) * arb.pi() ** (n + 1)
    if not reflected.is_finite():  # at a pole
        return NAN
    found: arb = (-1) ** n * monotone(of)(1 - x) - reflected
    return found


def beta(a: arb, b: arb) -> arb:
    return a.gamma() * b.gamma() * (a + b).rgamma()


def betaln(a: arb, b: arb) -> arb:
    """log|B(a, b)|."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def zeta(s: arb, q: arb) -> arb:
    """Hurwitz' Σ 1/(k+q)^s; of a negative q where s is an integer."""
    if q > 0:
        return s.zeta(q) if s < 1 << 20 else _zeta_by_terms(s, q)
    n = whole(s)
    return NAN if n is None or n < 2 or not q < 0 else acb(s).zeta(acb(q)).real


def _zeta_by_terms(s: arb, q: arb) -> arb:
    """The sum itself for a large s, where FLINT takes for ever; what is left is below its integral."""
    total = sum(((q + k) ** -s for k in range(64)), arb(0))
    first = (q + 64) ** -s
    return total + arb(0).union((first * (1 + (q + 64) / (s - 1))).upper())


def zeta_derivative(order: arb, s: arb, q: arb) -> arb:
    """∂^n ζ(s, q)/∂s^n, of positive q."""
    n = whole(order)
    if n is None or not (0 <= n < 32 and q > 0 and s < 1 << 20):
        return NAN
    return acb_series([acb(s), acb(1)], prec=n + 1).zeta(acb(q))[n].real * math.factorial(n)


def _regularized(f: Callable[..., arb], rises: tuple[bool, ...], last: float = math.inf) -> Callable[..., arb]:
    """A distribution function of positive parameters, from 0 to 1, which rises or falls in each of its arguments."""

    def ball(*x: arb) -> arb:
        if not all(t > 0 and t.is_finite() for t in x[:-1]) or not x[-1].is_finite() or x[-1] < 0 or x[-1] > last:
            return NAN
        found = f(*x)
        if not (all(t.is_exact() for t in x) or found.rel_accuracy_bits() > 20):
            low = f(*[t.lower() if r else t.upper() for t, r in zip(x, rises, strict=True)])
            high = f(*[t.upper() if r else t.lower() for t, r in zip(x, rises, strict=True)])
            found = sharper(low.union(high), found)
        return sharper(found, arb(0.5, 0.5))

    return ball


gammainc = _regularized(lambda a, x: x.gamma_lower(a, regularized=1), (False, True))
gammaincc = _regularized(lambda a, x: x.gamma_upper(a, regularized=1), (True, False))


def _beta_distribution(a: arb, b: arb, x: arb) -> arb:
    """I_x(a, b), from the end that x is nearer to: towards 1 the series takes for ever. So does it of large a or b."""
    if not (a < MOST_PARAMETER and b < MOST_PARAMETER):
        return arb(0.5, 0.5)
    if x > 0.5:
        return 1 - (1 - x).beta_lower(b, a, regularized=1)
    return x.beta_lower(a, b, regularized=1)


betainc = _regularized(_beta_distribution, (False, True, True), last=1.0)


def gammainc_by_order(a: arb, x: arb) -> arb:
    """∂P(a, x)/∂a = P·(log x − ψ(a)) − x^a·e^−x/Γ(a)·Σ_k x^k/(a(a+1)…(a+k))·(1/a + … + 1/(a+k)).

    From DLMF 8.7.1, term by term. All terms are positive.
    """
    if x.is_zero() and a > 0:
        return arb(0)
    if not (a > 0 and x > 0 and x < MOST_TERMS / 4 and a.is_finite()):
        return NAN
    harmonic = 1 / a
    term = 1 / a
    total, k = arb(0), 0
    while True:
        part = term * harmonic
        total += part
        k += 1
        harmonic += 1 / (a + k)
        term *= x / (a + k)
        # Harmonic numbers grow by less than the half again from here on.
        ratio = x / (a + k) * (1 + arb(1) / (k + 1))
        if ratio < 0.5 and not part.upper() > total.upper() * arb(2) ** -(ctx.prec + 10):
            total += arb(0, (2 * term * harmonic).upper())
            break
        if k > MOST_TERMS:
            return NAN
    return gammainc(a, x) * (x.log() - digamma(a)) - (a * x.log() - x).exp() * a.rgamma() * total


# Bessel and Airy functions, exponential integrals ---------------------------------------------------------------------


@_of_order
def bessel_i(n: int, x: arb) -> arb:
    return x.bessel_i(n)


@_of_order
def bessel_ie(n: int, x: arb) -> arb:
    """e^−|x|·I_n(x), at most 1."""
    if not x.is_finite():
        return NAN
    if x > 0:
        found = x.bessel_i(n, scaled=True)
    elif x < 0:
        found = (-x).bessel_i(n, scaled=True)
        found = -found if n % 2 else found
    else:
        found = x.bessel_i(n) * (-abs(x)).exp()
    return within(found, -1, 1)


@_of_order
def bessel_j(n: int, x: arb) -> arb:
    """J_n, at most 1, and so are its derivatives."""
    return within(steady(lambda t: t.bessel_j(n))(x), -1, 1) if x.is_finite() else NAN


@_of_order
def bessel_y(n: int, x: arb) -> arb:
    return x.bessel_y(n) if x > 0 else NAN


@_of_order
def bessel_k(n: int, x: arb) -> arb:
    return monotone(lambda t: t.bessel_k(n) if t > 0 else NAN)(x)


@_of_order
def bessel_ke(n: int, x: arb) -> arb:
    """e^x·K_n(x)."""
    return monotone(lambda t: t.bessel_k(n, scaled=True) if t > 0 else NAN)(x)


def spherical_bessel_j0(x: arb) -> arb:
    """sin(x)/x."""
    return x.sinc()


def airy_ai(x: arb) -> arb:
    return x.airy_ai()


def airy_ai_derivative(x: arb) -> arb:
    return x.airy_ai(derivative=1)


def expi(x: arb) -> arb:
    return x.ei()


@_of_order
def expn(n: int, x: arb) -> arb:
    """E_n(x) = ∫_1^∞ e^(−xt)/t^n dt."""

    def of(t: arb) -> arb:
        if n == 0:
            return (-t).exp() / t
        return t.expint(n) if t > 0 or (t.is_zero() and n > 1) else NAN

    return monotone(of)(x)
