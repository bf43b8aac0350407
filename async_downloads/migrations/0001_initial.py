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
                        help_text="Derived from the owner, so that each owner has one.",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "label",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="The name of a collection that belongs to no user.",
                        max_length=500,
                        verbose_name="label",
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        db_index=True,
                        help_text="The key that the documented functions take.",
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
                ("name", models.TextField(help_text="Its name in the list.", verbose_name="name")),
                (
                    "filename",
                    models.TextField(
                        help_text="The name that a browser saves it under.",
                        verbose_name="file name",
                    ),
                ),
                (
                    "filepath",
                    models.CharField(
                        help_text="The path of the file in the storage.",
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
                    "rows_written",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="Rows of the file, without its header.",
                        null=True,
                        verbose_name="rows",
                    ),
                ),
                (
                    "rows_expected",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="Rows counted at the start, if known.",
                        null=True,
                        verbose_name="rows expected",
                    ),
                ),
                (
                    "errors",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="The reason for a failure, as the owner reads it.",
                        verbose_name="error",
                    ),
                ),
                (
                    "error_detail",
                    models.TextField(
                        blank=True,
                        default="",
                        help_text="The reason for a failure, for staff only.",
                        verbose_name="error detail",
                    ),
                ),
                (
                    "claim",
                    models.UUIDField(
                        blank=True,
                        editable=False,
                        help_text="The token of the attempt that may write.",
                        null=True,
                        verbose_name="claim",
                    ),
                ),
                (
                    "attempts",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Attempts that have claimed it.",
                        verbose_name="attempts",
                    ),
                ),
                (
                    "timestamp",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="requested"
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
                        verbose_name="last heartbeat",
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the clean-up may remove it; empty for never.",
                        null=True,
                        verbose_name="expires",
                    ),
                ),
                (
                    "fetch_count",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="How often its file was handed out.",
                        verbose_name="times fetched",
                    ),
                ),
                (
                    "fetched_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="last fetched"),
                ),
                (
                    "fetched_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="last fetched by",
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
                "permissions": [("fetch_download", "Can fetch the files of others")],
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
            index=models.Index(fields=["-timestamp", "-id"], name="async_downloads_newest"),
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
