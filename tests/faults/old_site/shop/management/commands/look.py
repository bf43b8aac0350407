"""Look at the upgraded site, and print what each user sees as JSON."""

import base64
import json

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.test import Client, override_settings

from async_downloads.models import Download


def fetched(client, entry):
    """Return the response of a complete download, in Base64."""
    if not entry["complete"]:
        return None
    response = client.get(entry["url"])
    assert response.status_code == 200, response
    assert response["Content-Disposition"].startswith("attachment")
    return base64.b64encode(b"".join(response.streaming_content)).decode()


class Command(BaseCommand):
    """Print what each user sees."""

    def handle(self, **options):
        """Sign in as each user, and fetch every file."""
        people = list(get_user_model().objects.order_by("pk"))
        seen = {}
        for person in people:
            client = Client()
            client.force_login(person)
            page = client.get("/")
            update = client.get("/async_downloads/ajax_update/").json()
            downloads = update["downloads"]
            seen[person.username] = {
                "page": page.content.decode(),
                "html": update["html"],
                "downloads": downloads,
                "files": {each["download_key"]: fetched(client, each) for each in downloads},
            }
        foreign = Client()
        foreign.force_login(people[1])
        download = Download.objects.filter(collection__user=people[0], state="complete").first()
        with override_settings(ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE="old_list.html"):
            client.force_login(people[0])
            old_list = client.get("/async_downloads/ajax_update/").json()["html"]
        rows = {str(row.pk): [str(row.collection), row.state] for row in Download.objects.all()}
        foreign_status = foreign.get(download.url).status_code
        report = {"people": seen, "rows": rows, "old_list": old_list, "foreign": foreign_status}
        self.stdout.write(json.dumps(report))
