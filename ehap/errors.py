"""The errors that `ehap` raises on purpose.

EhapError
├── SettingsError       a configuration key, type or range is wrong
├── ArgumentError       an argument of a public function is of another kind, or in another state
├── DataError           a dataset is absent, damaged or of another shape
├── CheckpointError     a weights file is damaged, or belongs to another model
├── ArchitectureError   a network has a part that cannot be pruned or quantized
├── PlanError           a pruning plan or budget does not fit the network
├── MismatchError       two forms of one network give different answers
├── NumericsError       NaN or Inf where a finite number was expected
├── ProvenanceError     the notes on how outputs were made are missing or unreliable
├── CodeError           the code that runs differs from the code of the plan
├── SourceError         an input of a job is missing, or changed while the job ran
├── DeviceError         the requested device is not present
├── MissingPackageError a package of an extra is not installed; the message has the pip command
├── BusyError           another process works on the same job
├── ReadError           a file cannot be read now: no permission, or an error of disk or network
├── WriteError          a file cannot be written: no space, or no permission
└── StoppedError        the job was told to stop; the message names its state

A message says what is wrong, what came, and what to do.
"""


class EhapError(Exception):
    """Base of all errors that `ehap` raises on purpose."""


class SettingsError(EhapError):
    """A configuration key, type or range is wrong."""


class ArgumentError(EhapError, ValueError):
    """An argument of a public function is of another kind, or in another state."""


class DataError(EhapError):
    """A dataset is absent, damaged or of another shape."""


class CheckpointError(EhapError):
    """A weights file is damaged, or belongs to another model."""


class ArchitectureError(EhapError):
    """A network has a part that cannot be pruned or quantized."""


class PlanError(EhapError):
    """A pruning plan or budget does not fit the network."""


class MismatchError(EhapError):
    """Two forms of one network give different answers."""


class NumericsError(EhapError):
    """NaN or Inf where a finite number was expected."""


class ProvenanceError(EhapError):
    """The notes on how outputs were made are missing or unreliable."""


class CodeError(EhapError):
    """The code that runs differs from the code of the plan."""


class SourceError(EhapError):
    """An input of a job is missing, or changed while the job ran."""


class DeviceError(EhapError):
    """The requested device is not present."""


class MissingPackageError(EhapError, ImportError):
    """A package of an extra is not installed. It is an ImportError, too, with the package as its ``name``."""


class BusyError(EhapError):
    """Another process works on the same job."""


class ReadError(EhapError, OSError):
    """A file cannot be read now: no permission, or an error of disk or network."""


class WriteError(EhapError, OSError):
    """A file cannot be written: no space, or no permission. It is an OSError, too, with its ``errno``."""


class StoppedError(EhapError):
    """The job was told to stop; the message names its state."""
