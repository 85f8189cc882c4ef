"""Rows and tables -> files. Rounding happens only here. All of it runs in one child, since it needs scipy and tabulate."""
