"""The form of the page before an export."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings as project_settings
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from async_downloads.exports.choices import EXCEL, SITE, UTC, UTF_8, Choices
from async_downloads.exports.offers import Offer, offered_formats
from async_downloads.models.exports import MAX_PRESET_NAME

__all__ = ["ExportForm"]


class ExportForm(forms.Form):
    """Format, encoding, time zone and columns of an export.

    Each column posts its key as ``order``, and as ``columns`` if it is ticked. So the order of
    the page is the order of the file, with or without a script.
    """

    format = forms.ChoiceField(label=_("Format"))
    encoding = forms.ChoiceField(
        label=_("Text encoding"),
        choices=[(UTF_8, _("UTF-8")), (EXCEL, _("For Excel"))],
        help_text=_("Only for CSV and tab-separated values."),
    )
    time_zone = forms.ChoiceField(label=_("Time zone"))
    columns = forms.MultipleChoiceField(
        label=_("Columns"), error_messages={"required": _("Tick at least one column.")}
    )
    preset_name = forms.CharField(
        label=_("Keep as a preset"),
        max_length=MAX_PRESET_NAME,
        required=False,
        help_text=_("Name these choices, so that all staff can use them for this list."),
    )

    def __init__(
        self,
        data: Any,
        *,
        offers: Mapping[str, Offer],
        choices: Choices,
        order: Iterable[str],
        may_share: bool,
    ):
        """Prepare the fields.

        Args:
            data: The posted data; None to show the choices.
            offers: The columns that the person may choose.
            choices: The choices that the page begins with.
            order: The keys of all columns in the order of the page; if empty, the chosen ones
                come first.
            may_share: Whether the person may save presets.
        """
        super().__init__(data, initial=choices.as_values())
        self._offers = offers
        keys = dict.fromkeys([*order, *choices.columns, *offers])
        self._order = [key for key in keys if key in offers]
        fields: dict[str, Any] = self.fields
        fields["format"].choices = list(offered_formats().items())
        fields["columns"].choices = [(key, offer.label) for key, offer in offers.items()]
        if zones := _time_zones():
            fields["time_zone"].choices = zones
        else:
            del fields["time_zone"]
        if not may_share:
            del fields["preset_name"]

    @property
    def settings(self) -> list[forms.BoundField]:
        """The fields without the columns and the preset."""
        return [self[name] for name in ("format", "encoding", "time_zone") if name in self.fields]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The columns in the order of the page."""
        ticked = set(self["columns"].value() or ())
        return [
            {"key": key, "label": self._offers[key].label, "ticked": key in ticked}
            for key in self._order
        ]

    def choices(self) -> Choices:
        """Return the choices of a valid form."""
        cleaned = self.cleaned_data
        return Choices(
            columns=list(dict.fromkeys(cleaned["columns"])),
            format=cleaned["format"],
            encoding=cleaned["encoding"],
            time_zone=cleaned.get("time_zone", SITE),
        )


def _time_zones() -> list[tuple[str, str]]:
    """Return the time zones to choose from; none if the site has no other than UTC."""
    own = timezone.get_current_timezone_name()
    if not project_settings.USE_TZ or own == "UTC":
        return []
    return [(SITE, gettext("%(zone)s, as on this page") % {"zone": own}), (UTC, gettext("UTC"))]
