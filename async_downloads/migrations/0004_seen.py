from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("async_downloads", "0003_export_presets"),
    ]

    operations = [
        migrations.AddField(
            model_name="downloadcollection",
            name="seen_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="The last heartbeat of the downloads that the owner has seen finished.",
                null=True,
                verbose_name="seen",
            ),
        ),
    ]
