from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("async_downloads", "0007_ledger"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="download",
            options={
                "permissions": [
                    ("fetch_download", "Can fetch the files of others"),
                    ("clear_team_downloads", "Can clear and cancel downloads of their teams"),
                ],
                "verbose_name": "download",
                "verbose_name_plural": "downloads",
            },
        ),
    ]
