"""The engine: enrol, verify, identify, compare, erase. The only package that knows modalities and gallery together."""

from biometrik.engine.context import require_consent as require_consent
from biometrik.engine.engine import Engine as Engine
from biometrik.engine.recognising import MAX_CLAIMS as MAX_CLAIMS
