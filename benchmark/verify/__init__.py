"""``python -m benchmark verify DIR|FILE.zip``: whether results are what they say, by their artifacts and predictions.

Nothing in the folder is trusted. Data is prepared again by the tasks that are installed here, and their labels score the stored
predictions; artifacts are hashed, inspected and run again; steps must be those that the plan of ``suite.toml`` asks for; rows and
tables are made again from the store. What differs is one line, and so is what cannot be checked. What no later look can check:
times, memory, and what a training did to come to its artifact.

The folder is only read, and nothing out of it is unpickled or executed: the store is SQLite (without views and triggers) or JSON,
arrays are read without objects, rows and tables are compared as text. Artifacts are loaded by a runtime, as in a run: in a child
process, where the kernel allows namespaces without network, and with time and memory that end.
"""

from benchmark.verify.check import Verdict, report, verify

__all__ = ["Verdict", "report", "verify"]
