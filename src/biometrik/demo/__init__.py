"""``biometrik demo``: the main job on real photographs, told on a page that an officer can read."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from biometrik import models
from biometrik.config import EngineConfig
from biometrik.demo import page
from biometrik.demo.steps import Step, Story
from biometrik.demo.story import tell
from biometrik.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A story and the page that tells it."""

    story: Story
    page: Path


def run(output: Path, config: EngineConfig, on_step: Callable[[Step], None] = lambda _: None) -> Demonstration:
    """Run the demo and write its page.

    Parameters
    ----------
    output : Path
        Folder of the page, created if need be; service and database live in a temporary folder.
    config : EngineConfig
        The engine's settings.
    on_step : callable
        Called after each step.

    Raises
    ------
    InvalidInputError
        The photographs are not installed, or the page cannot be written.
    BiometrikError
        The service does not start, or fails.
    """
    story = tell(config, on_step)
    weights = [row for row in models.catalogue(config.models) if row.state is not models.WeightsState.ABSENT]
    try:
        written = page.write(page.render(story, weights, datetime.now(UTC)), output)
    except OSError as error:
        raise InvalidInputError(
            f"demo page: expected a folder that can be written, got {output} ({error.strerror}); name another"
            " with --output"
        ) from error
    return Demonstration(story, written)
