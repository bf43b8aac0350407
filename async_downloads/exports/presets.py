"""The choices that are kept: under a name for all staff, and the last ones of each person."""

from typing import Any

from async_downloads.exports.choices import Choices
from async_downloads.models import ExportPreset, LastExport

__all__ = [
    "changelist_key",
    "is_taken",
    "last_choices",
    "presets_of",
    "remember",
    "save_preset",
]


def changelist_key(model_admin: Any) -> str:
    """Return the text that stands for a changelist: the same model may be in several sites."""
    return f"{model_admin.admin_site.name}:{model_admin.opts.label_lower}"


def last_choices(user: Any, changelist: str) -> Choices | None:
    """Return the choices that a person made last for a changelist; None if there are none."""
    last = LastExport.objects.filter(user=user.pk, changelist=changelist).first()
    return None if last is None else Choices.read(last.choices)


def remember(user: Any, changelist: str, choices: Choices) -> None:
    """Keep the choices of a person for the next export of a changelist."""
    LastExport.objects.update_or_create(
        user_id=user.pk, changelist=changelist, defaults={"choices": choices.as_values()}
    )


def presets_of(changelist: str) -> dict[str, ExportPreset]:
    """Return the presets of a changelist by their primary keys as text, in the order of names."""
    presets = ExportPreset.objects.filter(changelist=changelist).order_by("name")
    return {str(preset.pk): preset for preset in presets}


def is_taken(changelist: str, name: str) -> bool:
    """Return whether a changelist has a preset of a name, or one that its database takes for it."""
    return ExportPreset.objects.filter(changelist=changelist, name=name).exists()


def save_preset(changelist: str, name: str, choices: Choices) -> None:
    """Save choices under a name, in place of those that have it."""
    ExportPreset.objects.update_or_create(
        changelist=changelist, name=name, defaults={"choices": choices.as_values()}
    )
