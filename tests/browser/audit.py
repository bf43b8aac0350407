"""What is wrong with the layout of an element, as a script, and the pixels of a screenshot."""

import struct
import zlib
from pathlib import Path
from typing import Final

__all__ = ["BROKEN", "pixels"]

#: Returns what is wrong with an element: outside of the screen, clipped, overlapping, too small
#: for a finger. Text counts where it is painted, not where its element ends.
BROKEN: Final = """(selector, isTouched) => {
    const root = document.querySelector(selector);
    const problems = [];
    const nameOf = (element) =>
        `${element.localName}.${element.className} "${element.textContent.trim().slice(0, 40)}"`;
    const intersect = (one, other) => ({
        left: Math.max(one.left, other.left),
        top: Math.max(one.top, other.top),
        right: Math.min(one.right, other.right),
        bottom: Math.min(one.bottom, other.bottom),
    });
    const isLarge = ({left, top, right, bottom}) => right - left > 1.5 && bottom - top > 1.5;
    const isInside = (one, other) =>
        one.left >= other.left - 1 && one.right <= other.right + 1 &&
        one.top >= other.top - 1 && one.bottom <= other.bottom + 1;

    // A page itself may be higher than the screen.
    const end = root === document.body ? Infinity : innerHeight;
    const screen = {left: 0, top: 0, right: innerWidth, bottom: end};
    if (!isInside(root.getBoundingClientRect(), screen)) {
        problems.push(`outside of the screen: ${JSON.stringify(root.getBoundingClientRect())}`);
    }
    if (document.documentElement.scrollWidth > innerWidth) {
        problems.push(`the page is ${document.documentElement.scrollWidth} wide`);
    }
    if (root.scrollWidth > root.clientWidth) problems.push("it scrolls sideways");

    const texts = [];
    for (const element of root.querySelectorAll("*")) {
        if (!element.checkVisibility({visibilityProperty: true})) continue;
        if (isTouched && element.matches("a[href]:not(.download-name), button, summary")) {
            const {width, height} = element.getBoundingClientRect();
            if (Math.round(width) < 44 || Math.round(height) < 44) {
                problems.push(`${Math.round(width)} x ${Math.round(height)}: ${nameOf(element)}`);
            }
        }
        for (const node of element.childNodes) {
            if (node.nodeType !== Node.TEXT_NODE || !node.data.trim()) continue;
            const range = document.createRange();
            range.selectNodeContents(node);
            for (const line of range.getClientRects()) {
                let painted = line;
                let area = element.closest(".async-downloads-header, .async-downloads-footer");
                for (let each = element; each !== root; each = each.parentElement) {
                    const {overflowX, overflowY} = getComputedStyle(each);
                    if (overflowX === "visible" && overflowY === "visible") continue;
                    const box = each.getBoundingClientRect();
                    if (line.left < box.left - 1 || line.right > box.right + 1) {
                        problems.push(`clipped: ${nameOf(element)}`);
                    }
                    painted = intersect(painted, box);
                }
                const control = element.closest("button, .download-get, .download-tile");
                if (control && !isInside(painted, control.getBoundingClientRect())) {
                    problems.push(`larger than its place: ${nameOf(element)}`);
                }
                if (isLarge(painted)) texts.push({element, painted, area});
            }
        }
    }
    if (!texts.length) problems.push("it has no text");
    // The head and the foot of a list stay above what scrolls.
    for (const [index, one] of texts.entries()) {
        for (const other of texts.slice(index + 1)) {
            if (one.element === other.element || one.area !== other.area) continue;
            if (isLarge(intersect(one.painted, other.painted))) {
                problems.push(`${nameOf(one.element)} overlaps ${nameOf(other.element)}`);
            }
        }
    }
    return [...new Set(problems)];
}"""


def pixels(path: Path, count: int) -> list[list[bytes]]:
    """Return the colours of the first rows of a screenshot: a PNG of 8 bits without interlace."""
    data = path.read_bytes()[8:]
    header, packed = b"", b""
    while data:
        (length,) = struct.unpack(">I", data[:4])
        kind, content = data[4:8], data[8 : 8 + length]
        header, packed = (
            content if kind == b"IHDR" else header,
            packed + content if kind == b"IDAT" else packed,
        )
        data = data[12 + length :]
    width, _, depth, colours = struct.unpack(">IIBB", header[:10])
    assert depth == 8
    size = {2: 3, 6: 4}[colours]
    raw, stride = zlib.decompress(packed), width * size
    rows, above = [], bytearray(stride)
    for start in range(0, count * (stride + 1), stride + 1):
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], above, size)
        rows.append([bytes(above[x : x + 3]) for x in range(0, stride, size)])
    return rows


def _unfiltered(kind: int, line: bytes, above: bytearray, size: int) -> bytearray:
    """Return a row of a PNG, whose bytes are differences from neighbours."""
    row = bytearray(line)
    for x, value in enumerate(line):
        left = row[x - size] if x >= size else 0
        corner = above[x - size] if x >= size else 0
        up = above[x]
        row[x] = (value + _predicted(kind, left, up, corner)) % 256
    return row


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 4:
        estimate = left + up - corner
        return min((left, up, corner), key=lambda each: abs(estimate - each))
    return (0, left, up, (left + up) // 2)[kind]
