"""Judges one run of h2spec: h2spec_report.py FACE OUTPUT

OUTPUT is what `h2spec --strict --verbose` printed. Ends with 0 if no case failed but those that may fail on that face,
prints the names of these, and the whole text of all others. FACE is

* `waits`: the server answers later than h2spec sends the frames of a case. Only UPGRADE_CASE may fail.
* `at-once`: the server may answer as soon as it has a request's head. EARLY_ANSWER_CASES may fail, too.

On both, a case that expects a closed connection and sees a reset one has not failed (see RESET).

A case has the name by which h2spec runs it alone: `h2spec --port PORT --strict --verbose http2/5.1/8`.
"""

import re
import sys
from dataclasses import dataclass, field

# In h2spec 2.2.1. A run that stopped early has fewer.
CASES = 146

SPECIFICATIONS = {
    "Generic tests for HTTP/2 server": "generic",
    "Hypertext Transfer Protocol Version 2 (HTTP/2)": "http2",
    "HPACK: Header Compression for HTTP/2": "hpack",
}

# "Sends invalid connection preface". The port speaks HTTP/1.1 as well, so this is a malformed HTTP/1.1 request and is
# answered with 400 (RFC 9113, section 3.4, allows to send no GOAWAY). h2spec reads that answer as an HTTP/2 frame.
UPGRADE_CASE = "http2/3.5/2"
UPGRADE_ANSWER = "looked like an HTTP/1.1 header"

# The request's head is valid and its body is to come, so a server that needs no body may answer at once, completely,
# and then reset the stream (RFC 9113, section 8.1). What comes on the stream after that is ignored (section 5.1).
# The offending frame comes after the head, so it meets either an open stream, and the case passes, or a stream that the
# server has reset, and there is no error to report. All cases of h2spec that are like that:
EARLY_ANSWER_CASES = {
    "http2/5.1/8": "closed: Sends a DATA frame after sending RST_STREAM frame",
    "http2/5.1/9": "closed: Sends a HEADERS frame after sending RST_STREAM frame",
    "http2/6.9/2": "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
    "http2/6.9.1/3": "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
    "http2/8.1/1": "Sends a second HEADERS frame without the END_STREAM flag",
    "http2/8.1.2.1/3": "Sends a HEADERS frame that contains a pseudo-header field as trailers",
    "http2/8.1.2.6/1": 'Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame '
    "payload length",
    "http2/8.1.2.6/2": 'Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the '
    "multiple DATA frames payload length",
}

# h2spec 2.2.1 counts a reset connection as a closed one, but does not know the error that Go has for it since 1.5 or so.
# A server that closes while h2spec still sends is answered by its kernel with a reset.
CLOSED = "Connection closed"
RESET = "connection reset by peer"

SECTION = re.compile(r" *(\d[\d.]*)\. ")
VERDICT = re.compile(r" *(?P<sign>[✔×]) (?P<number>\d+): (?P<title>.*)")
FRAME = re.compile(r" *\[(?:send|recv)\] .*")
RECEIVED = re.compile(r"\[recv\] (?P<kind>\w+) Frame \(length:\d+, flags:0x(?P<flags>\w+), stream_id:1\)")
SUMMARY = re.compile(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed")
END_STREAM = 0x1


@dataclass
class Case:
    name: str
    title: str
    frames: list
    explanation: list = field(default_factory=list)

    def text(self):
        lines = [f"{self.name}: {self.title}", *self.explanation, *self.frames]
        return "\n    ".join(line.strip().replace("\0", "") for line in lines)

    def says(self, text):
        return any(text in line for line in self.explanation)

    def was_answered_and_reset(self):
        """Whether a complete answer came, and then a RST_STREAM."""
        complete = False
        for frame in filter(None, (RECEIVED.search(frame) for frame in self.frames)):
            if frame["kind"] == "RST_STREAM":
                return complete
            complete |= frame["kind"] in ("HEADERS", "DATA") and bool(int(frame["flags"], 16) & END_STREAM)
        return False

    def may_fail(self, face):
        if self.says(CLOSED) and self.says(RESET):
            self.name += "=reset"
            return True
        if self.name == UPGRADE_CASE:
            return self.says(UPGRADE_ANSWER)
        return face == "at-once" and EARLY_ANSWER_CASES.get(self.name) == self.title and self.was_answered_and_reset()


def read(output):
    """The failed cases, and what the last line says: tests, passed, skipped, failed."""
    failed, summary, specification, section, frames, case, is_repeated = [], None, None, None, [], None, False
    # A bare carriage return stands before each verdict; Python reads it as the end of a line.
    for line in output:
        line = line.rstrip()
        if found := SUMMARY.fullmatch(line):
            summary = tuple(map(int, found.groups()))
        elif is_repeated or line.startswith("Failures:"):
            is_repeated = True  # All failures once more, without their frames.
        elif line in SPECIFICATIONS:
            specification, case = SPECIFICATIONS[line], None
        elif found := SECTION.match(line):
            section, case = found[1], None
        elif FRAME.match(line):
            frames.append(line)
        elif found := VERDICT.match(line):
            case = Case(f"{specification}/{section}/{found['number']}", found["title"], frames)
            frames = []
            if found["sign"] == "×":
                failed.append(case)
        elif case and line:
            case.explanation.append(line)
    return failed, summary


def main(face, path):
    assert face in ("waits", "at-once"), face
    with open(path, encoding="utf-8", errors="replace") as output:
        failed, summary = read(output)
    expected = (CASES, CASES - len(failed), 0, len(failed))
    if summary != expected:
        sys.exit(f"(tests, passed, skipped, failed) should be {expected}, and h2spec says {summary}")
    bad = [case for case in failed if not case.may_fail(face)]
    if bad:
        sys.exit("\n".join(case.text() for case in bad))
    print(" ".join(case.name for case in failed))


main(*sys.argv[1:])
