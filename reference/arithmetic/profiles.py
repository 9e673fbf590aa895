"""Profiles: how far an elementary function may err, and whether subnormal numbers may be flushed.

An error bound is K units in the last place of the exact value. Sources:

[OpenCL]  Khronos, "The OpenCL SPIR-V Environment Specification", v3.1.1, section "Numerical Compliance":
          table "ULP Values for Math Instructions - Full Profile" for the bounds, sections "INF, NaN, and Denormalized
          Numbers" and "Edge Case Behavior in Flush To Zero Mode" for flushing. That specification requires float64
          subnormals; XLA's CPU backend flushes them all the same ([JAX], "Flush-To-Zero"), so flushing is allowed in
          every format here.
[MKL]     Intel, "oneMKL Vector Mathematics Performance and Accuracy Data", mode HA: every function errs by less than
          1 ulp. PyTorch's x86 builds take their float64 and float32 square roots from it, which are not rounded
          correctly (0.53 and 0.74 ulp were measured: docs/functions), so [OpenCL]'s ½ ulp of float64 would accuse them.
[JAX]     JAX documentation, "Numerical accuracy" (docs/accuracy.md, reviewed 2026-09-18): maximum observed errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT32, Format

Bounds = Mapping[str, Mapping[str, float]]


#: Functions with values below 1, whatever their argument: an ulp of theirs is at most that of numbers from 1/2 to 1.
BELOW_ONE = ("tanh", "erf")


@cache
def counted_in(function: str, target: Format) -> Format:
    """The format with as many binades as the function has values in."""
    return replace(target, emax=-1) if function in BELOW_ONE else target


@dataclass(frozen=True, eq=False)
class Profile:
    """The constants of hypotheses 4 and 5: `ulps[format][function]` is K, `flush` allows flushing to zero.

    A `lenient` one is for what accuses nobody: see `lenient` below. Formats are taken to have so many bits fewer as
    `coarser` says: every number may then be off by 2^coarser roundings, also one that is given, where the fewer bits do
    not hold it.
    """

    name: str
    ulps: Bounds
    flush: bool
    lenient: bool = False
    coarser: int = 0

    def format(self, of: Format) -> Format:
        """The format that is rounded to."""
        return replace(of, precision=of.precision - self.coarser) if self.coarser else of

    def bound(self, function: str, target: Format) -> tuple[float, Format, bool]:
        """K, the format whose ulp it counts, and whether one rounding to `target` follows.

        bfloat16 has no column in [OpenCL]: its functions are float32's, rounded once.
        """
        if target.name in self.ulps:
            return self.ulps[target.name][function], target, False
        if target.name == BFLOAT16.name:
            return self.ulps[FLOAT32.name][function], FLOAT32, True
        raise KeyError(f"profile {self.name} has no bounds for {target.name}")


#: Times its K, in ulp of its value and of its operands, that a function with a measured K is leniently allowed: no
#: bound, but beyond what was seen (5 times, of PyTorch's float32 digamma near its root).
LENIENT = 16


@cache
def lenient(profile: Profile) -> Profile:
    """The profile for a program that is run again on other numbers, to see whether it is the one that was recorded.

    A function that errs more there than it is held to deviates there, as XLA's float64 tanh by 6.9 ulp for 5, and is no
    value that left the record. So it may err by twice its K; one whose K was measured by `LENIENT` times that.
    """
    ulps = {name: MappingProxyType({f: 2 * k for f, k in of.items()}) for name, of in profile.ulps.items()}
    return replace(profile, ulps=MappingProxyType(ulps), lenient=True)


_SINGLE = MappingProxyType(
    {
        "exp": 3.0,
        "sin": 4.0,
        "cos": 4.0,
        "sinh": 4.0,
        "cosh": 4.0,
        "sqrt": 3.0,
        "expm1": 3.0,
        "log": 3.0,
        "log1p": 2.0,
        "tanh": 5.0,
        "erf": 16.0,
        "erfc": 16.0,
    }
)
#: Correctly rounded: half an ulp.
_ROOT = {"sqrt": 0.5}
_DOUBLE = MappingProxyType({**_SINGLE, "sqrt": 1.0})  # [MKL]
_HALF = MappingProxyType({**dict.fromkeys(_SINGLE, 2.0), "erf": 4.0, "erfc": 4.0, **_ROOT})

OPENCL = Profile("opencl", MappingProxyType({"float64": _DOUBLE, "float32": _SINGLE, "float16": _HALF}), flush=True)

_ONE = MappingProxyType({**dict.fromkeys(_SINGLE, 1.0), **_ROOT})

STRICT = Profile("strict", MappingProxyType(dict.fromkeys(OPENCL.ulps, _ONE)), flush=False)

# The bound of a device is the larger of the CPU and GPU columns. PyTorch and NumPy document no bounds for these
# functions, so for them the vendor profile is OpenCL's.
_JAX = Profile(
    "vendor",
    MappingProxyType(
        {
            "float64": MappingProxyType(
                {
                    "exp": 2.0,
                    "sin": 2.5,
                    "cos": 1.5,
                    "sinh": 496.0,
                    "cosh": 496.0,
                    "sqrt": 0.5,
                    "expm1": 4.5,
                    "log": 1.5,
                    "log1p": 2.0,
                    "tanh": 7.0,
                    "erf": 2.5,
                    "erfc": 350.0,
                }
            ),
            "float32": MappingProxyType(
                {
                    "exp": 2.0,
                    "sin": 1.5,
                    "cos": 2.0,
                    "sinh": 25.0,
                    "cosh": 25.0,
                    "sqrt": 1.0,
                    "expm1": 6.5,
                    "log": 1.5,
                    "log1p": 3.0,
                    "tanh": 5.5,
                    "erf": 7.0,
                    "erfc": 66.5,
                }
            ),
            "float16": MappingProxyType(
                {
                    "exp": 1.0,
                    "sin": 1.0,
                    "cos": 1.0,
                    "sinh": 1.0,
                    "cosh": 1.0,
                    "sqrt": 0.5,
                    "expm1": 2.5,
                    "log": 1.0,
                    "log1p": 1.0,
                    "tanh": 0.5,
                    "erf": 1.0,
                    "erfc": 1.0,
                }
            ),
            "bfloat16": MappingProxyType(
                {
                    "exp": 1.0,
                    "sin": 0.5,
                    "cos": 0.5,
                    "sinh": 0.5,
                    "cosh": 0.5,
                    "sqrt": 0.5,
                    "expm1": 0.5,
                    "log": 0.5,
                    "log1p": 0.5,
                    "tanh": 0.5,
                    "erf": 0.5,
                    "erfc": 0.5,
                }
            ),
        }
    ),
    flush=True,
)
_VENDORS = {"jax": _JAX}

PROFILES = ("opencl", "strict", "vendor")


@cache
def profile(name: str, adapter: str = "") -> Profile:
    """The profile called `name`, as it applies to the framework called `adapter`.

    Raises KeyError for a name that is not in `PROFILES`.
    """
    if name == "vendor":
        vendor = _VENDORS.get(adapter, OPENCL)
        return Profile("vendor", vendor.ulps, vendor.flush)
    return {"opencl": OPENCL, "strict": STRICT}[name]
