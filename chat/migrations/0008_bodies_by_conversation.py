from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models

from ragsite.online_indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # the index is made while people write

    dependencies = [("chat", "0007_traces_by_week")]

    operations = [
        AddIndexOnline(
            model_name="messagebody",
            index=models.Index(fields=["owner", "conversation_id"], name="messagebody_conversation_idx"),
        ),
        RemoveIndexConcurrently(model_name="messagebody", name="messagebody_message_idx"),
    ]
