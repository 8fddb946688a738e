"""A call of the contract: its request, its method, how its answer is read; and what builds one."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from inspect import isfunction
from typing import Any, Final, Generic, ParamSpec, TypeVar

from google.protobuf.message import Message

from biometrik import wire
from biometrik.errors import InvalidInputError
from biometrik.reasons import Locale
from biometrik.types import RequestContext
from biometrik.v1 import context_pb2

P = ParamSpec("P")
T = TypeVar("T")

PACKAGE: Final = "/biometrik.v1"


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call.

    Parameters
    ----------
    method : str
        Its full name.
    request : Message
        What is sent.
    response : type of Message
        What comes back.
    read : callable
        Turns that into the library's value.
    timeout_s : float or None
        Its deadline where that is not the connection's.
    """

    method: str
    request: Message
    response: type[Message]
    read: Callable[[Any], T]
    timeout_s: float | None = None


def in_unicode(build: Callable[P, T]) -> Callable[P, T]:
    """Return the function with the library's error for text that no message can hold: with half of a surrogate pair."""

    @wraps(build)
    def built(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return build(*args, **kwargs)
        except UnicodeEncodeError as error:
            raise InvalidInputError(
                f"request: expected text in Unicode, got {error.object[error.start]!a}, which is half a character"
            ) from None

    return built


class CallBuilder:
    """What builds calls: each of its methods is :func:`in_unicode`."""

    def __init_subclass__(cls) -> None:
        for name, method in vars(cls).copy().items():
            if isfunction(method):
                setattr(cls, name, in_unicode(method))


class Asking(CallBuilder):
    """Builds calls in one language.

    Parameters
    ----------
    locale : {"en", "id"}
        Of advice.
    """

    def __init__(self, locale: Locale) -> None:
        self._locale = locale

    def context(self) -> context_pb2.RequestContext:
        """Return the context of calls that write nothing."""
        return wire.context_to_wire(RequestContext(), self._locale)

    def writing(self, context: RequestContext | None) -> context_pb2.RequestContext:
        """Return the context of calls that write."""
        # A write always has a transaction id, so that it can be tried again when the line fails.
        context = context or RequestContext()
        if not context.transaction_id:
            context = replace(context, transaction_id=uuid.uuid4().hex)
        return wire.context_to_wire(context, self._locale)


def counted(name: str, value: int, *, least: int = 0) -> int:
    """Return a number that a message can hold; raises InvalidInputError for another."""
    if not least <= value < 1 << 32:
        raise InvalidInputError(f"{name}: expected {least} or more, got {value}")
    return value
