"""The course's own errors: each message says what was wrong, what was expected and what to do, in one sentence."""


class CourseError(Exception):
    """Something outside the caller's code went wrong: data, disk, network, a run."""


class DataError(CourseError):
    """A data set cannot be found, read, checked or stored."""


class DamagedError(DataError):
    """A file in the data folder is damaged; such a file is never skipped silently."""


class TrainingError(CourseError):
    """A training run cannot go on, such as a loss that is not a number."""


class SettingError(CourseError, ValueError):
    """A lesson, profile or parameter that does not exist, or a value that does not fit."""


class RunError(CourseError):
    """A notebook did not run to its end."""
