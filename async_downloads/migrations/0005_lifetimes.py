from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("async_downloads", "0004_seen"),
    ]

    operations = [
        migrations.AddField(
            model_name="download",
            name="lifetime",
            field=models.DurationField(
                blank=True,
                help_text=(
                    "From its end until it expires; empty for the default of the site, 0 for good."
                ),
                null=True,
                verbose_name="lifetime",
            ),
        ),
        migrations.AddField(
            model_name="download",
            name="held",
            field=models.BooleanField(
                default=False,
                help_text="Whether staff keep it from being removed.",
                verbose_name="held",
            ),
        ),
    ]
