"""Was any POST delivered twice, and which failed?

    check_posts.py ACCESS_LOG KILLED_BACKEND KILLED_AT ANSWERED_OK ANSWERED_BAD_GATEWAY NOTES...

Joins what the balancer says of each POST with what the backends noted. ANSWERED_* are the load generator's counts. A
file of notes is named after its backend.
"""

import json
import os
import sys
from collections import Counter
from datetime import datetime

# The kernel takes a while to close a killed process's connections, and the balancer to hear of it.
DYING_SECONDS_MAX = 0.5

access_log, killed, killed_at, answered_ok, answered_bad, *notes = sys.argv[1:]
deliveries = {}
for path in notes:
    with open(path) as lines:
        for line in lines:
            deliveries.setdefault(line.strip(), []).append(os.path.basename(path))
requests = {}
with open(access_log) as lines:
    for entry in map(json.loads, lines):
        if entry["method"] == "POST":
            assert entry["target"] not in requests, f"wrk sent {entry['target']} twice"
            requests[entry["target"]] = entry

faults = []
for target, backends in deliveries.items():
    if len(backends) > 1:
        faults.append(f"{target} was delivered to {backends}: {requests.get(target)}")
    if target not in requests:
        faults.append(f"{target} was delivered to {backends}, and the access log does not know it")
statuses, lost, last = Counter(), Counter(), 0.0
for target, entry in requests.items():
    status, backend = entry["status"], entry["backend"]
    statuses[status] += 1
    began = datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00")).timestamp() - float(killed_at)
    if status == 200:
        if deliveries.get(target) != [backend]:
            faults.append(f"answered by {backend}, delivered to {deliveries.get(target)}: {entry}")
    elif status == 502:
        lost[entry["cause"], "delivered" if target in deliveries else "not delivered"] += 1
        last = max(last, began)
        if backend != killed or began > DYING_SECONDS_MAX:
            faults.append(f"failed {began:+.3f} s from the kill of {killed}: {entry}")
    elif status != 499 or entry["cause"] != "client_closed":
        faults.append(f"neither answered nor lost: {entry}")
if statuses[200] < int(answered_ok) or statuses[502] != int(answered_bad):
    faults.append(f"wrk got {answered_ok} times 200 and {answered_bad} times 502, the access log has {dict(statuses)}")

print(f"    {len(requests)} POSTs: {dict(statuses)}; {sum(map(len, deliveries.values()))} deliveries")
for (cause, fate), count in lost.items():
    print(f"    502: {count} {fate}, {cause}")
if lost:
    print(f"    the last of them began {last:+.3f} s from the kill")
for fault in faults[:10]:
    print(f"    FAULT: {fault}")
sys.exit(f"{len(faults)} faults" if faults else 0)
