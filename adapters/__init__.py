"""Adapters: one file a framework. A new one needs the names here and nothing else of gradconform.

The package can be called: `gradconform.adapters()` lists the names of the registered adapters.

    >>> import gradconform as gc
    >>> "numpy" in gc.adapters()
    True
"""

import sys
from types import ModuleType

from gradconform.adapters.contract import FOUR_DTYPES, Adapter, Answer, Form, Route, Stencil, Trace, Unsupported
from gradconform.adapters.registry import registered
from gradconform.reference.cases import Point

__all__ = ["FOUR_DTYPES", "Adapter", "Answer", "Form", "Point", "Route", "Stencil", "Trace", "Unsupported"]


class _CallableModule(ModuleType):
    """`gc.adapters()` and the package `gradconform.adapters` have the same name; this lets one object be both."""

    def __call__(self) -> list[str]:
        return registered()


sys.modules[__name__].__class__ = _CallableModule
