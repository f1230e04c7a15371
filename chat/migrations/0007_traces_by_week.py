from django.db import migrations

from chat.migrations import _traces


class Migration(migrations.Migration):
    atomic = False  # an index is made concurrently

    dependencies = [("chat", "0006_scope_index")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(_traces.forwards, _traces.backwards)],
            # The key (owner, message) of the partitioned table is this index. Django's own key stays the message.
            state_operations=[migrations.RemoveIndex("retrievaltrace", "retrievaltrace_message_idx")],
        ),
    ]
