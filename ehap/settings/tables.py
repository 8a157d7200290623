"""Settings of the tables: whose records they show."""

from dataclasses import dataclass

from ehap.settings.names import Grid


@dataclass(frozen=True, kw_only=True)
class Tables(Grid):
    """Whose records the tables show; a run puts it together.

    curvatures: Curvatures that the methods of the grid name.
    reconstructed: Cells that are repaired without labels, dataset/model/method.
    deployed: Networks that become files for an engine, dataset/model/method/scheme.
    timed: Deployed networks whose latency is measured.
    also_read: Folders of records made elsewhere.
    """

    curvatures: tuple[str, ...] = ()
    reconstructed: tuple[str, ...] = ()
    deployed: tuple[str, ...] = ()
    timed: tuple[str, ...] = ()
    also_read: tuple[str, ...] = ()
