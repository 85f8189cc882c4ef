"""``python tests/recompute.py RESULTS``: the numbers of leaderboard.md, made again from leaderboard.csv by nobody else's code."""

import csv
import sys
from pathlib import Path

root = Path(sys.argv[1])
methods = list(csv.DictReader((root / "leaderboard.csv").open(encoding="utf-8", newline="")))
markdown = (root / "leaderboard.md").read_text("utf-8").replace("\\", "")
printed = [[cell.strip(" *") for cell in line.split("|")] for line in markdown.splitlines()]
for task in dict.fromkeys(one["task"] for one in methods):
    mine = [one for one in methods if one["task"] == task]
    ends = [(float(one["score_high"]), float(one["score_low"])) for one in mine if one["score_low"]]
    digits, power = f"{min([high - low for high, low in ends if high > low], default=0) / 2:.2e}".split("e")
    places = 3 if float(digits) == 0 else -int(power) + (round(float(digits) * 100) <= 354)
    for one in mine:
        low, value, high = (f"{float(one[name]):.{places}f}" for name in ("score_low", "score", "score_high"))
        lines = [line for line in printed if all(one[name] in line for name in ("backend", "architecture", "recipe"))]
        wanted = [one["rank"], f"{value} [{low}, {high}]", f"{float(one['val_score']):.{places}f}"]
        wanted += [
            f"{float(one['flips']):.1%}"[:-1],
            f"{float(one['artifact_bytes']):,.0f}",
            f"{float(one['latency_p90_us']):.1f}",
        ]
        assert any(all(cell in line for cell in wanted) for line in lines), (task, wanted, lines)
        costs = [value, f"{float(one['size_ratio']):.2f}", f"{float(one['latency_p50_us']):.1f}"]
        costs += [f"{float(one['rss_bytes']) / 1e6:.1f}"]
        assert any(all(cell in line for cell in costs) for line in lines), (task, costs, lines)
print(f"{len(methods)} methods: every number is that of the CSV")
