"""What a job may use: enforced by the kernel where it lets us, else watched, and in either case said with every step."""

from benchmark.limits.child import child_environment, confine
from benchmark.limits.guard import Guard, Mechanism, Usage, choose
from benchmark.limits.machine import HostClass, available_cores, check_cores, host_class, pinned
from benchmark.limits.sandbox import Sandbox, enter

__all__ = [
    "Guard",
    "HostClass",
    "Mechanism",
    "Sandbox",
    "Usage",
    "available_cores",
    "check_cores",
    "child_environment",
    "choose",
    "confine",
    "enter",
    "host_class",
    "pinned",
]
