"""Latencies of an h2load --log-file: percentiles.py FILE"""

import sys

with open(sys.argv[1]) as lines:
    rows = [line.split("\t") for line in lines]
latencies = sorted(int(row[2]) for row in rows)
starts = [int(row[0]) for row in rows]
ends = [start + int(row[2]) for start, row in zip(starts, rows)]
rate = len(rows) / ((max(ends) - min(starts)) / 1e6)


def percentile(share):
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))] / 1000


print(f"{rate:.0f} {percentile(0.5):.2f} {percentile(0.99):.2f} {percentile(0.999):.2f} {latencies[-1] / 1000:.2f}")
