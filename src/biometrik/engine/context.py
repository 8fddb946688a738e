"""What a caller says of a request: the consent that it needs, and what the event log keeps of it."""

from collections.abc import Mapping

from biometrik.config import EngineConfig
from biometrik.errors import ConsentMissingError
from biometrik.types import RequestContext


def require_consent(config: EngineConfig, context: RequestContext) -> None:
    """Raise ConsentMissingError where the configuration asks for a consent and the context names none."""
    if config.require_consent and not context.consent_ref.strip():
        raise ConsentMissingError(
            "consent_ref: expected the caller's reference of the consent, got none; give it in the RequestContext"
        )


def details_of(context: RequestContext, **further: str) -> Mapping[str, str]:
    """Return what the event log keeps of a request: the caller's references that are given, and what is added."""
    fields = {
        "operator_ref": context.operator_ref,
        "station_ref": context.station_ref,
        "consent_ref": context.consent_ref,
        "purpose": context.purpose.value if context.purpose else "",
        **further,
    }
    return {name: value for name, value in fields.items() if value}
