"""Programs of strangers, run without root, network or trust."""

from sensorium.sandbox.errors import SandboxError
from sensorium.sandbox.jobs import STATUSES, Job, Limits, Outcome
from sensorium.sandbox.pool import Sandbox

__all__ = ["STATUSES", "Job", "Limits", "Outcome", "Sandbox", "SandboxError"]
