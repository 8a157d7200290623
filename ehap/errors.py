"""Every deliberate error of `ehap`.

EhapError
├── SettingsError       a configuration key, type or range is wrong
├── DataError           a dataset is absent, damaged or of another shape
├── CheckpointError     a weights file is damaged, or belongs to another model
├── ArchitectureError   a network has a part that cannot be pruned or quantized
├── PlanError           a pruning plan or budget does not fit the network
├── MismatchError       two forms of one network give different answers
├── NumericsError       NaN or Inf where a finite number was expected
├── ProvenanceError     the notes on how outputs came to be are absent or not to be trusted
├── CodeError           the code that runs is not the code that was planned with
├── SourceError         an input of a job is missing, or has changed while the job was at work
├── DeviceError         the asked-for device is not there
├── BusyError           another process is at work on the same job
├── ReadError           a file cannot be read now: no permission, an error of the disk or the network
├── WriteError          a file cannot be written: no room, no permission
└── StoppedError        the job was told to stop; it says where its state is

A message says what was expected, what came, and what to do.
"""


class EhapError(Exception):
    """Base of all errors that `ehap` raises on purpose."""


class SettingsError(EhapError):
    """A configuration key, type or range is wrong."""


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
    """The notes on how outputs came to be are absent or not to be trusted."""


class CodeError(EhapError):
    """The code that runs is not the code that was planned with."""


class SourceError(EhapError):
    """An input of a job is missing, or has changed while the job was at work."""


class DeviceError(EhapError):
    """The asked-for device is not there."""


class BusyError(EhapError):
    """Another process is at work on the same job."""


class ReadError(EhapError, OSError):
    """A file cannot be read now: no permission, an error of the disk or the network."""


class WriteError(EhapError, OSError):
    """A file cannot be written: no room, no permission. It is an OSError as well, and has its ``errno``."""


class StoppedError(EhapError):
    """The job was told to stop; it says where its state is."""
