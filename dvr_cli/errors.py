"""Errors that a user can mend.

Every message says what is wrong, where, what was expected and what to do next. Commands print the message and exit with
the class's `exit_code`; library code only raises.
"""


class DvrError(Exception):
    """Base of all errors that are the input's fault, not the program's."""

    exit_code = 1


class SceneError(DvrError):
    """A scene folder, an image, a mask or a camera cannot be used as it is."""


class DepthError(DvrError):
    """Sparse or dense depth cannot be used as it is."""


class ConfigError(DvrError):
    """A configuration file or an option holds an unknown key or a value out of range."""


class RunError(DvrError):
    """A run folder is missing, in use, incomplete or damaged."""


class DeviceError(DvrError):
    """The requested device does not exist on this machine."""


class ExportError(DvrError):
    """A mesh cannot be made or written."""


class CompareError(DvrError):
    """A mesh, a cloud or a reference cannot be measured or compared as it is."""
