"""The cards of the home page: what each button exports, in plain words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from demo.shop import tasks

__all__ = ["EXPORTS", "GROUPS", "Export", "Group"]


@dataclass(frozen=True, slots=True)
class Export:
    """One card with one button.

    Attributes:
        slug: The last part of the URL that the button posts to.
        task: The function that a worker runs.
        name: The name of the download in the list, and of its file.
        title: The heading of the card.
        text: What the card shows, for people.
        shows: What the card shows, for developers: names of the package's interface.
        button: The label of the button.
        expectation: How long it takes, or how it ends.
        extension: The end of the file's name. It decides on the format.
        in_place: Whether the button starts the export without a page load.
    """

    slug: str
    task: Callable[[str], None]
    name: str
    title: str
    text: str
    shows: str
    button: str
    expectation: str
    extension: str = ".csv"
    in_place: bool = False


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
                text="A Python function makes each row, so a row can hold anything that Python "
                "can compute: here, the city of the customer and the label of the status.",
                shows="queryset_to_csv()",
                button="Export orders",
                expectation="A few seconds",
            ),
            Export(
                slug="orders-plain",
                task=tasks.all_orders_plain,
                name="Plain columns",
                title="All orders, plain columns",
                text="The database makes the text of the file, and Python passes it on. This is "
                "the quick way to a large file.",
                shows="save_download(…values_list(), header=…)",
                button="Export columns",
                expectation="The quickest",
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
                shows="orders.xlsx",
                button="Export workbook",
                expectation="Half a minute",
                extension=".xlsx",
            ),
            Export(
                slug="orders-by-status",
                task=tasks.orders_by_status,
                name="Orders by status",
                title="Several files in one",
                text="All orders in a ZIP file, with a CSV file for each status.",
                shows="save_download(members=…)",
                button="Export ZIP file",
                expectation="A few seconds",
                extension=".zip",
            ),
            Export(
                slug="orders-for-programs",
                task=tasks.orders_for_programs,
                name="Orders for programs",
                title="A file for programs",
                text="All orders as JSON Lines, one object on each line, compressed.",
                shows="orders.jsonl.gz",
                button="Export JSON",
                expectation="A few seconds",
                extension=".jsonl.gz",
            ),
            Export(
                slug="price-list",
                task=tasks.price_list,
                name="Price list",
                title="A file of any kind",
                text="A web page with all prices. The task builds it itself. This button "
                "starts the export without loading the page anew.",
                shows="save_download(file=…), wake_menu()",
                button="Make price list",
                expectation="At once",
                extension=".html",
                in_place=True,
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
                text="A report adds up all orders of each product. The list shows its progress. "
                "When it is ready, the shop sends an e-mail.",
                shows="update_percentage(), download_completed",
                button="Make the report",
                expectation="20 seconds",
            ),
            Export(
                slug="invoice-archive",
                task=tasks.invoice_archive,
                name="Invoice archive",
                title="You change your mind",
                text="Far too slow. Cancel it in the list: its worker stops within seconds and "
                "is free for the next export.",
                shows="DownloadCancelled",
                button="Export the invoices",
                expectation="5 minutes",
            ),
            Export(
                slug="stock-audit",
                task=tasks.stock_audit,
                name="Stock audit",
                title="It fails",
                text="The warehouse stops answering half-way. The list says so, and no half "
                "file is left behind.",
                shows="DownloadError",
                button="Audit the stock",
                expectation="Fails on purpose",
            ),
            Export(
                slug="supplier-catalogue",
                task=tasks.supplier_catalogue,
                name="Supplier catalogue",
                title="It is not whole",
                text="A supplier announces 60 articles and sends 45. The list offers the file "
                "and warns that rows are missing.",
                shows="save_download(expected_rows=…)",
                button="Fetch the catalogue",
                expectation="Too short on purpose",
            ),
        ),
    ),
)


def _exports() -> Iterator[Export]:
    for group in GROUPS:
        yield from group.exports


EXPORTS: Final = {export.slug: export for export in _exports()}
