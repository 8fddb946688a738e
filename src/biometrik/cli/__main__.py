"""``python -m biometrik.cli`` is the command ``biometrik``."""

from biometrik.cli import main

main()
