"""The site, and what every app leans on."""

import os

# Since 1.29 onnxruntime tells its maker about every model and keeps a device id in the home folder, unless this is set
# before it is imported; its own disable_telemetry_events() comes too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
