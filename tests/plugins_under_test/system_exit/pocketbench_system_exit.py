"""A plugin whose module is a script."""

import sys

sys.exit("usage: system_exit FILE")
