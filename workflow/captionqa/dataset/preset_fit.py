"""Which preset, and which of its layouts, the columns of a table fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captionqa.config.presets import Layout, load_preset, preset_names
from captionqa.dataset.question_columns import missing_for, named_columns
from captionqa.errors import InputError


def fitting_layout(preset: str, table: Path, names: Sequence[str]) -> Mapping[str, Any]:
    """The layout of a preset that a table with these columns has.

    Raises:
        InputError: it has none of them.
    """
    layouts = load_preset(preset).layouts
    for layout in layouts:
        if _is_of(layout, table, names):
            return layout.columns
    for layout in layouts:
        if not missing_for(layout.columns, names):
            return layout.columns
    raise InputError(
        f"qa.preset: {preset} does not fit {table}, which has no column "
        f"{', '.join(missing_for(layouts[0].columns, names))}; it has {', '.join(names)}."
    )


def fitting_preset(table: Path, names: Sequence[str]) -> str | None:
    """The preset of whose layouts a table has the most columns; None where it fits none."""
    fits = {
        preset: max(_named(layout, names) for layout in load_preset(preset).layouts if _is_of(layout, table, names))
        for preset in preset_names()
        if any(_is_of(layout, table, names) for layout in load_preset(preset).layouts)
    }
    return max(fits, key=lambda preset: fits[preset], default=None)


def _is_of(layout: Layout, table: Path, names: Sequence[str]) -> bool:
    """Whether a table has a layout, and none of the columns that would show another."""
    columns = layout.columns
    tables = [one["file"] for one in (columns.get("join"), columns.get("images")) if isinstance(one, Mapping)]
    return (
        not missing_for(columns, names)
        and set(layout.has) <= set(names)
        and not (layout.only and set(names) - set(named_columns(columns)))
        and all((table.parent / name).exists() for name in tables)
    )


def _named(layout: Layout, names: Sequence[str]) -> int:
    """How many of a table's columns a layout names."""
    return len({*named_columns(layout.columns), *layout.has} & set(names))
