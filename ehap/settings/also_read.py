"""Records made elsewhere that the tables show, too."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehap.errors import SettingsError
from ehap.settings.build import build


@dataclass(frozen=True, kw_only=True)
class AlsoRead:
    """Records made elsewhere.

    also_read: Folders of the same form as ``results/<run>``, whose records the tables show too, with their device.
    """

    also_read: tuple[str, ...] = ()


def folders(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the folders of other records that a configuration names.

    Raises:
        SettingsError: One of them is missing.
    """
    found = build(AlsoRead, {"also_read": config.get("also_read") or ()}, "the configuration").also_read
    for folder in found:
        if not Path(folder).is_dir():
            raise SettingsError(f"also_read: expected a folder of records, but there is none at {folder}.")
    return found
