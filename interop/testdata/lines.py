# SPDX-License-Identifier: Apache-2.0
"""What the scripted clients have in common: one JSON object per line.

In: {"do": COMMAND, "n": NUMBER, ...}. Out: {"n": NUMBER, "ok": RESULT} or
{"n": NUMBER, "error": TEXT} for each command, and {"event": NAME, ...} whenever
something happens. Logs go to standard error.
"""

import asyncio
import json
import logging
import sys


def out(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def serve(commands):
    """Runs the commands of standard input, one after the other, until it ends."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        request = json.loads(line)
        number, do = request.pop("n"), request.pop("do")
        try:
            out(n=number, ok=await getattr(commands, do)(**request))
        except Exception as error:  # every failure is the test's to judge
            logging.exception("command %s", do)
            out(n=number, error="%s: %s" % (type(error).__name__, error))
