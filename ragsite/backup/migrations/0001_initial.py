"""What waits for the end of a backup."""

from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='HeldFolder',
            fields=[
                ('path', models.CharField(max_length=200, primary_key=True, serialize=False)),
            ],
            options={
                'db_table': 'backup_heldfolder',
            },
        ),
    ]
