"""gradconform: the conformance suite for gradients.

    >>> import gradconform as gc
    >>> rows = gc.check("numpy/central", "document/worked-example")
    >>> set(rows.verdict)
    {'conforms'}

The names below are the whole public interface; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradconform import adapters
    from gradconform.conformance.api import assert_conforms, cases, check, explain, train
    from gradconform.conformance.run.runner import SUITE_VERSION as __version__
    from gradconform.conformance.verify import verify
    from gradconform.conformance.verify_update import verify_update
    from gradconform.reference.cases import BadInput, Case, document_case, network_case

__all__ = [
    "BadInput",
    "Case",
    "__version__",
    "adapters",
    "assert_conforms",
    "cases",
    "check",
    "document_case",
    "explain",
    "network_case",
    "train",
    "verify",
    "verify_update",
]

_HOME = {
    "BadInput": "gradconform.reference.cases",
    "Case": "gradconform.reference.cases",
    "document_case": "gradconform.reference.cases",
    "network_case": "gradconform.reference.cases",
    "assert_conforms": "gradconform.conformance.api",
    "cases": "gradconform.conformance.api",
    "check": "gradconform.conformance.api",
    "explain": "gradconform.conformance.api",
    "train": "gradconform.conformance.api",
    "verify": "gradconform.conformance.verify",
    "verify_update": "gradconform.conformance.verify_update",
    "__version__": "gradconform.conformance.run.runner",
}


def __getattr__(name: str) -> Any:
    if name == "adapters":  # a package that can be called: `gc.adapters()` lists what is registered
        return import_module("gradconform.adapters")
    if name not in _HOME:
        raise AttributeError(f"module 'gradconform' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), "SUITE_VERSION" if name == "__version__" else name)


def __dir__() -> list[str]:
    return __all__
