"""Holds what k6 was answered against what is in the database.

check_users.py CALLS WRITTEN MILLISECONDS: each acknowledged name must be written once, and no run of failed reads may last longer.
"""

import collections
import sys

calls, written, longest_allowed = sys.argv[1], sys.argv[2], int(sys.argv[3])
acknowledged, refused, reads = [], 0, []
for line in open(calls, encoding="utf-8"):
    kind, what, status = line.split()
    if kind == "read":
        reads.append((int(what), status == "200"))
    elif status == "201":
        acknowledged.append(what)
    else:
        refused += 1

counts = collections.Counter(line.strip() for line in open(written, encoding="utf-8"))
missing = [name for name in acknowledged if counts[name] == 0]
twice = [name for name, count in counts.items() if count > 1]

# From the first failed read of a run to the first good one after it.
reads.sort()
longest, since, failed = 0, None, 0
for time, is_good in reads:
    if is_good:
        if since is not None:
            longest = max(longest, time - since)
        since = None
        continue
    failed += 1
    since = time if since is None else since
if since is not None:
    longest = max(longest, reads[-1][0] - since)

print(f"    {len(acknowledged)} writes acknowledged, {refused} refused; {len(reads)} reads, {failed} failed, for {longest} ms at the longest")
faults = []
if not acknowledged or not reads:
    faults.append("no calls")
if missing:
    faults.append(f"{len(missing)} acknowledged writes are missing: {missing[:5]}")
if twice:
    faults.append(f"{len(twice)} writes are there twice: {twice[:5]}")
if longest > longest_allowed:
    faults.append(f"reads failed for {longest} ms, {longest_allowed} ms are allowed")
for fault in faults:
    print("FAULT", fault)
sys.exit(1 if faults else 0)
