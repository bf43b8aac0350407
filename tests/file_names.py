"""Problematic file names, and generated ones."""

import random

__all__ = ["NASTY", "fuzzed"]

NASTY = [
    "",
    " ",
    ".",
    "..",
    "...",
    ". .",
    "../../etc/passwd",
    "..\\..\\windows\\system32",
    "/etc/passwd",
    "\\\\server\\share\\x.csv",
    "C:\\x.csv",
    "C:x.csv",
    "a/b/c.csv",
    "a\\b\\c.csv",
    "a\x00b.csv",
    "\x00",
    "a\nb\r\n.csv",
    "a\tb\x1b[31m.csv",
    "invoice\u202evsc.exe",
    "\u2066a\u2069.csv",
    "\u200f\u200e.csv",
    "CON",
    "con.csv",
    "NUL.txt",
    "COM1",
    "LPT9.csv",
    "aux",
    "a:b|c?d*e<f>g\"h'.csv",
    "$(rm -rf ~).csv",
    "%2e%2e%2f.csv",
    "-rf.csv",
    ".htaccess",
    "file.",
    "file. ",
    " file.csv",
    "no extension",
    "x" * 300,
    "x" * 300 + ".csv",
    "ü" * 300 + ".csv",
    "名" * 300 + ".csv",
    "👩‍👩‍👧‍👦" * 60 + ".csv",
    "x." + "y" * 300,
    "." + "y" * 300,
    "..." + "名" * 300,
    "x" * 199 + "名.csv",
    "e\u0301" * 150 + ".csv",
    "\ud800.csv",
    "a\ud83d.csv",
    "\ufeffbom.csv",
    "Größe & Menge №5.csv",
]


def fuzzed(count: int) -> list[str]:
    """Return random names of any code points, with many that are known to be problematic."""
    chance = random.Random(20260131)
    problematic = "/\\.:\x00\n\r\t \u202e\u2066\u200f~%$*?<>|\"'COM1NULcsv"
    return [
        "".join(
            chance.choice(problematic) if chance.random() < 0.4 else chr(chance.randrange(0x110000))
            for _ in range(chance.randrange(1, 200))
        )
        for _ in range(count)
    ]
