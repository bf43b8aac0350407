"""The cards of the home page: what each button exports, in plain words."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from demo.shop import tasks

__all__ = ["EXPORTS", "GROUPS", "Choice", "Export", "Group"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A format or a lifetime that a card offers.

    Attributes:
        label: Its name, for people.
        extension: The end of the file's name. It decides on the format.
        args: What the task gets besides the download key.
        timeout: How long the file is kept.
    """

    label: str
    extension: str
    args: tuple[Any, ...] = ()
    timeout: float | Literal["default"] | None = "default"


CSV: Final = Choice("CSV", ".csv")
TSV: Final = Choice("Tab-separated", ".tsv")
XLSX: Final = Choice("Excel workbook", ".xlsx")
JSONL: Final = Choice("JSON Lines", ".jsonl")

#: In seconds.
HOUR: Final = 60 * 60
DAY: Final = 24 * HOUR

#: The formats of rows, by the value that the form sends.
ROWS: Final = {"csv": CSV, "xlsx": XLSX, "tsv": TSV, "jsonl": JSONL}


@dataclass(frozen=True, slots=True)
class Export:
    """One card with one button.

    Attributes:
        slug: The last part of the URL that the button posts to.
        task: The function that a worker runs.
        name: The name of the download in the list, and of its file.
        title: The heading of the card.
        text: What the card shows, for people.
        lesson: What the card teaches, for developers, in one line.
        shows: The names of the package's interface that it uses.
        button: The label of the button.
        expectation: How long it takes, or how it ends.
        choices: What there is to choose from, by the value that the form sends.
        asks: What is chosen.
        for_team: Whether the person's team owns the file.
    """

    slug: str
    task: Callable[..., None]
    name: str
    title: str
    text: str
    lesson: str
    shows: str
    button: str
    expectation: str
    choices: Mapping[str, Choice]
    asks: str = "Format"
    for_team: bool = False

    @property
    def path(self) -> str:
        """The dotted path of the task, as its downloads record it."""
        return f"{self.task.__module__}.{self.task.__qualname__}"


@dataclass(frozen=True, slots=True)
class Group:
    """Some cards under one heading."""

    slug: str
    title: str
    text: str
    exports: tuple[Export, ...]


GROUPS: Final = (
    Group(
        slug="from-database",
        title="From the database to a file",
        text="The same 7 columns of the same orders, in two ways.",
        exports=(
            Export(
                slug="orders",
                task=tasks.all_orders,
                name="All orders",
                title="All orders, row by row",
                text="Each row is computed: the city stands behind the customer, and the status "
                "is a word.",
                lesson="A Python function makes a row from an object, and progress is counted.",
                shows="queryset_to_csv()",
                button="Export orders",
                expectation="A few seconds",
                choices=ROWS,
            ),
            Export(
                slug="orders-plain",
                task=tasks.all_orders_plain,
                name="Plain columns",
                title="All orders, plain columns",
                text="The columns as the database has them. This is the quick way to a large file.",
                lesson="For CSV the database makes the text, and Python passes it on.",
                shows="save_download(…values_list(), header=…)",
                button="Export columns",
                expectation="The quickest",
                choices=ROWS,
            ),
        ),
    ),
    Group(
        slug="kinds-of-file",
        title="Kinds of file",
        text="The name of the file decides on its format.",
        exports=(
            Export(
                slug="orders-workbook",
                task=tasks.orders_workbook,
                name="Orders for Excel",
                title="A workbook for Excel",
                text="All orders on one sheet. Numbers and dates are numbers and dates in "
                "Excel, too.",
                lesson="A workbook is written row by row, in memory that does not grow.",
                shows="orders.xlsx",
                button="Export workbook",
                expectation="Half a minute",
                choices={"xlsx": XLSX, "xlsx.zip": Choice("Excel in a ZIP file", ".xlsx.zip")},
            ),
            Export(
                slug="orders-by-status",
                task=tasks.orders_by_status,
                name="Orders by status",
                title="Several files in one",
                text="All orders in a ZIP file, with a file for each status.",
                lesson="Each member is written straight into the archive.",
                shows="save_download(members=…)",
                button="Export ZIP file",
                expectation="A few seconds",
                choices={
                    "csv": Choice("CSV files", ".zip", (CSV.extension,)),
                    "jsonl": Choice("JSON Lines files", ".zip", (JSONL.extension,)),
                    "xlsx": Choice("Excel workbooks", ".zip", (XLSX.extension,)),
                },
            ),
            Export(
                slug="orders-for-programs",
                task=tasks.orders_for_programs,
                name="Orders for programs",
                title="A file for programs",
                text="All orders with the names of their fields, compressed.",
                lesson="“.gz” behind any name compresses the file while it is written.",
                shows="orders.jsonl.gz",
                button="Export for programs",
                expectation="A few seconds",
                choices={
                    "jsonl.gz": Choice("JSON Lines, gzip", ".jsonl.gz"),
                    "jsonl": JSONL,
                    "csv.gz": Choice("CSV, gzip", ".csv.gz"),
                },
            ),
            Export(
                slug="price-list",
                task=tasks.price_list,
                name="Price list",
                title="A file of any kind",
                text="A web page with all prices.",
                lesson="A task may build its file itself, in any format.",
                shows="save_download(file=…)",
                button="Make price list",
                expectation="At once",
                choices={"html": Choice("Web page", ".html")},
            ),
        ),
    ),
    Group(
        slug="on-the-way",
        title="What can happen on the way",
        text="Open the list at the top right, and watch.",
        exports=(
            Export(
                slug="sales-report",
                task=tasks.sales_report,
                name="Sales report",
                title="It takes a while",
                text="A report adds up all orders of each product. When it is ready, the shop "
                "sends an e-mail.",
                lesson="The task reports its progress, and sends a signal at its end.",
                shows="update_percentage(), download_completed",
                button="Make the report",
                expectation="20 seconds",
                choices=ROWS,
            ),
            Export(
                slug="invoice-archive",
                task=tasks.invoice_archive,
                name="Invoice archive",
                title="You change your mind",
                text="Far too slow. Cancel it in the list.",
                lesson="A cancelled export stops within seconds, and its worker is free.",
                shows="DownloadCancelled",
                button="Export the invoices",
                expectation="5 minutes",
                choices=ROWS,
            ),
            Export(
                slug="stock-audit",
                task=tasks.stock_audit,
                name="Stock audit",
                title="It fails, until you try again",
                text="The warehouse stops answering half-way. The list says so, and has a button "
                "to try again.",
                lesson="The person reads the text of a DownloadError; no half file is left.",
                shows="start_download(…), DownloadError",
                button="Audit the stock",
                expectation="Fails the first time",
                choices=ROWS,
            ),
            Export(
                slug="supplier-catalogue",
                task=tasks.supplier_catalogue,
                name="Supplier catalogue",
                title="It is not whole",
                text="A supplier announces 60 articles and sends 45. The list offers the file "
                "and warns that rows are missing.",
                lesson="The package counts the rows, and compares them with what was expected.",
                shows="save_download(expected_rows=…)",
                button="Fetch the catalogue",
                expectation="Too short on purpose",
                choices=ROWS,
            ),
        ),
    ),
    Group(
        slug="who-and-how-long",
        title="Who gets it, and for how long",
        text="The list says which files are of a team, and until when a file is kept.",
        exports=(
            Export(
                slug="open-orders",
                task=tasks.open_orders,
                name="Open orders",
                title="One file for a team",
                text="Sales is the team of ada and joan. Both find the file in their lists, "
                "and only ada may remove it.",
                lesson="A group owns the download, and a function says who is a member.",
                shows="start_download(task, group), ASYNC_DOWNLOADS_MEMBERS",
                button="Export for Sales",
                expectation="At once",
                choices=ROWS,
                for_team=True,
            ),
            Export(
                slug="product-list",
                task=tasks.product_list,
                name="Product list",
                title="It stays as long as you say",
                text="Other files stay for a day. Open “All downloads” and press “Keep for "
                "longer”: this one gets as much time again, up to a week.",
                lesson="Each download may have a lifetime, which begins at its end.",
                shows="start_download(timeout=…), ASYNC_DOWNLOADS_MAX_LIFETIME",
                button="Export products",
                expectation="At once",
                choices={
                    "three-days": Choice("For three days", ".csv", timeout=3 * DAY),
                    "hour": Choice("For an hour", ".csv", timeout=HOUR),
                    "for-good": Choice("Until I remove it", ".csv", timeout=None),
                },
                asks="Lifetime",
            ),
        ),
    ),
)


def _exports() -> Iterator[Export]:
    for group in GROUPS:
        yield from group.exports


EXPORTS: Final = {export.slug: export for export in _exports()}
