"""The downloads of a signed-in person as JSON, for pages that are not Django templates.

| Modules | Purpose |
| --- | --- |
| ``schemas`` | the types of the JSON, which sites may import from here |
| ``entries`` | downloads as JSON |
| ``problems`` | errors as JSON |
| ``conditional`` | the parameters of a list, and its entity tag |
| ``openapi`` | the description of all that |
| ``views`` | the responses |
"""

from async_downloads.api.schemas import DownloadData, DownloadListData, ProblemData

__all__ = ["DownloadData", "DownloadListData", "ProblemData"]
