"""Everything rtmkc raises or warns of, in two trees.

A message names the value received, the rule it breaks (with its unit) and what to do.
"""


class RtmkcError(Exception):
    """Root of every error that rtmkc raises on purpose."""


class InputError(RtmkcError, ValueError):
    """A file, a layer or an argument cannot be used as given."""


class StudyError(RtmkcError, ValueError):
    """A study file (``study.toml``) is wrong: syntax, an unknown key or a value."""


class CapacityError(RtmkcError, ValueError):
    """The work asked for does not fit: too many cells, too much memory."""


class NoFactorError(RtmkcError, ValueError):
    """A question that needs a significant factor was asked of a model that has none."""


class OutputError(RtmkcError, OSError):
    """A result cannot be written: it exists already, or the place refuses it."""


class RtmkcWarning(UserWarning):
    """Root of every warning of rtmkc; ``warnings.simplefilter("ignore", RtmkcWarning)`` silences all."""


class DataWarning(RtmkcWarning):
    """Something in the data was dropped, merged or looks wrong; the sentence says how much."""


class ModelWarning(RtmkcWarning):
    """A fit stands, but on weaker ground than it seems; the sentence says why."""
