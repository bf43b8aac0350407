"""The buttons of the page, and what they start."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from demo.shop import tasks

__all__ = ["EXPORTS", "Export"]


@dataclass(frozen=True, slots=True)
class Export:
    """One button.

    Attributes:
        slug: The last part of the URL that the button posts to.
        name: What the download is about, for the list and the file.
        task: What a worker runs.
        title: The heading of the card.
        text: What the card says about it.
        expectation: What to expect, in a few words.
        button: The label of the button.
    """

    slug: str
    name: str
    task: Callable[[str], None]
    title: str
    text: str
    expectation: str
    button: str


EXPORTS: Final = {
    export.slug: export
    for export in (
        Export(
            slug="orders",
            name="All orders",
            task=tasks.all_orders,
            title="All orders, row by row",
            text="A Python function makes each row of the CSV file, so a row can hold whatever "
            "Python can work out. Progress comes with it.",
            expectation="Every order, a few seconds",
            button="Export orders",
        ),
        Export(
            slug="orders-plain",
            name="All orders, plain columns",
            task=tasks.all_orders_plain,
            title="All orders, plain columns",
            text="The same seven columns as they are in the database. Nothing is computed for "
            "a row, which makes this the quickest way to a large file.",
            expectation="Every order, quicker still",
            button="Export columns",
        ),
        Export(
            slug="sales-report",
            name="Sales report",
            task=tasks.sales_report,
            title="Sales report",
            text="Adds up every product, and takes its time. Open the list and watch it grow.",
            expectation="About 20 seconds",
            button="Make the report",
        ),
        Export(
            slug="stock-audit",
            name="Stock audit",
            task=tasks.stock_audit,
            title="Stock audit",
            text="The warehouse stops answering half-way. The list says so, and no half file "
            "is left behind.",
            expectation="Fails on purpose",
            button="Audit the stock",
        ),
        Export(
            slug="invoice-archive",
            name="Invoice archive",
            task=tasks.invoice_archive,
            title="Invoice archive",
            text="Far too slow. Cancel it in the list: its worker stops within seconds and is "
            "free for the next export.",
            expectation="Five minutes",
            button="Fetch the invoices",
        ),
    )
}
