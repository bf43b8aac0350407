import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DownloadCollection",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        editable=False,
                        help_text="Made of the owner, so that there is one for each.",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "label",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="What the collection is called when it belongs to no user.",
                        max_length=500,
                        verbose_name="label",
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        db_index=True,
                        help_text="The key that the documented functions know this collection by.",
                        max_length=700,
                        verbose_name="collection key",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="created"),
                ),
                (
                    "user",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="download_collection",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "download collection",
                "verbose_name_plural": "download collections",
            },
        ),
        migrations.CreateModel(
            name="Download",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="download key",
                    ),
                ),
                (
                    "name",
                    models.TextField(help_text="What the list calls it.", verbose_name="name"),
                ),
                (
                    "filename",
                    models.TextField(
                        help_text="The name that it is saved under when fetched.",
                        verbose_name="file name",
                    ),
                ),
                (
                    "filepath",
                    models.CharField(
                        help_text="Where the file lies in the storage, or will.",
                        max_length=500,
                        verbose_name="path",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting"),
                            ("running", "In progress"),
                            ("complete", "Complete"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=16,
                        verbose_name="state",
                    ),
                ),
                (
                    "percentage",
                    models.PositiveSmallIntegerField(default=0, verbose_name="progress"),
                ),
                (
                    "size",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="Bytes of the whole file.",
                        null=True,
                        verbose_name="size",
                    ),
                ),
                (
                    "errors",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="What the owner is told of a failure.",
                        verbose_name="error",
                    ),
                ),
                (
                    "error_detail",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="What staff are told of a failure.",
                        verbose_name="error detail",
                    ),
                ),
                (
                    "claim",
                    models.UUIDField(
                        blank=True,
                        editable=False,
                        help_text="The token of the run that may write.",
                        null=True,
                        verbose_name="claim",
                    ),
                ),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Runs that have claimed it.", verbose_name="attempts"
                    ),
                ),
                (
                    "timestamp",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="asked for"
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started")),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="finished"),
                ),
                (
                    "heard_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        help_text="The last write of any kind.",
                        verbose_name="last heard of",
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it goes away by itself; empty for never.",
                        null=True,
                        verbose_name="expires",
                    ),
                ),
                (
                    "collection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="downloads",
                        to="async_downloads.downloadcollection",
                        verbose_name="collection",
                    ),
                ),
            ],
            options={
                "verbose_name": "download",
                "verbose_name_plural": "downloads",
            },
        ),
        migrations.AddConstraint(
            model_name="downloadcollection",
            constraint=models.CheckConstraint(
                condition=models.Q(("user__isnull", True), ("label", ""), _connector="OR"),
                name="async_downloads_collection_one_owner",
            ),
        ),
        migrations.AddIndex(
            model_name="download",
            index=models.Index(fields=["collection", "-timestamp"], name="async_downloads_list"),
        ),
        migrations.AddIndex(
            model_name="download",
            index=models.Index(fields=["expires_at"], name="async_downloads_expired"),
        ),
        migrations.AddIndex(
            model_name="download",
            index=models.Index(fields=["state", "heard_at"], name="async_downloads_stalled"),
        ),
        migrations.AddConstraint(
            model_name="download",
            constraint=models.CheckConstraint(
                condition=models.Q(("percentage__gte", 0), ("percentage__lte", 100)),
                name="async_downloads_percentage_range",
            ),
        ),
        migrations.AddConstraint(
            model_name="download",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["pending", "running", "complete", "failed"])),
                name="async_downloads_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="download",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "complete"), _negated=True),
                    models.Q(
                        ("percentage", 100),
                        ("size__isnull", False),
                        models.Q(("filepath", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="async_downloads_complete_has_file",
            ),
        ),
    ]
