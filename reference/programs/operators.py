"""Python's operators on numbers of a record: each is a function of the table, and so a step."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Operators(Generic[T]):
    """What can be added, multiplied and so on, with its like or with a Python number, by `mapped`."""

    def mapped(self, function: str, *operands: Any) -> T:
        """A function of the table, element by element."""
        raise NotImplementedError(f"{type(self).__name__} must map {function}")

    def __add__(self, other: Any) -> T:
        return self.mapped("add", self, other)

    def __sub__(self, other: Any) -> T:
        return self.mapped("subtract", self, other)

    def __mul__(self, other: Any) -> T:
        return self.mapped("multiply", self, other)

    def __truediv__(self, other: Any) -> T:
        return self.mapped("divide", self, other)

    def __radd__(self, other: Any) -> T:
        return self.mapped("add", other, self)

    def __rsub__(self, other: Any) -> T:
        return self.mapped("subtract", other, self)

    def __rmul__(self, other: Any) -> T:
        return self.mapped("multiply", other, self)

    def __rtruediv__(self, other: Any) -> T:
        return self.mapped("divide", other, self)

    def __neg__(self) -> T:
        return self.mapped("negative", self)

    def __abs__(self) -> T:
        return self.mapped("absolute", self)
