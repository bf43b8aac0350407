from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("async_downloads", "0006_notices"),
    ]

    operations = [
        migrations.CreateModel(
            name="FetchRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("fetched_at", models.DateTimeField(verbose_name="fetched")),
                (
                    "user_key",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="As text; empty for a person who is not signed in.",
                        max_length=255,
                        verbose_name="primary key of the user",
                    ),
                ),
                ("user_name", models.TextField(blank=True, default="", verbose_name="user")),
                ("download_key", models.UUIDField(verbose_name="download key")),
                ("download_name", models.TextField(verbose_name="download")),
                ("file_name", models.TextField(verbose_name="file name")),
                (
                    "owner",
                    models.CharField(
                        help_text="The user name or the label, as it was then.",
                        max_length=500,
                        verbose_name="owner",
                    ),
                ),
                (
                    "size",
                    models.BigIntegerField(
                        help_text="Bytes of the whole file.", null=True, verbose_name="size"
                    ),
                ),
                (
                    "address",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="As much of it as the site keeps.",
                        max_length=255,
                        verbose_name="address",
                    ),
                ),
            ],
            options={
                "verbose_name": "fetch record",
                "verbose_name_plural": "fetch records",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["fetched_at", "id"], name="async_downloads_fetched"),
                    models.Index(
                        fields=["download_key", "user_key", "fetched_at"],
                        name="async_downloads_fetched_key",
                    ),
                ],
            },
        ),
    ]
