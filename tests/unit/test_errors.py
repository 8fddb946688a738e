"""The error tree: rooted, drawn completely, each class with its own reason."""

from biometrik import errors
from biometrik.errors import BiometrikError


def _subclasses(root: type[BiometrikError]) -> list[type[BiometrikError]]:
    return [root, *(found for child in root.__subclasses__() for found in _subclasses(child))]


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = errors.__doc__ or ""
    missing = [cls.__name__ for cls in _subclasses(BiometrikError) if cls.__name__ not in drawn]
    assert missing == []


def test_every_public_class_of_the_module_is_rooted() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) > 20
    assert all(issubclass(cls, BiometrikError) for cls in classes)


def test_reasons_are_distinct_upper_case_words() -> None:
    reasons = [cls.reason for cls in _subclasses(BiometrikError)]
    assert len(set(reasons)) == len(reasons)
    assert all(reason == reason.upper() and reason.replace("_", "").isalpha() for reason in reasons)
