"""Reads the page and the API without a pause: readers.py PORT READERS SECONDS. Prints how many answers came whole."""

from __future__ import annotations

import asyncio
import itertools
import sys

TARGETS = ("/", "/fragment", "/v1/servers", "/v1/facts", "/v1/runs", "/metrics", "/livez")


async def read(port: int, first: int, answers: list[int]) -> None:
    """One reader, with a connection for each request."""
    for target in itertools.islice(itertools.cycle(TARGETS), first, None):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
        except OSError:
            continue
        answers[0] += answer.startswith(b"HTTP/1.0 200")


async def main(port: int, readers: int, lasts_s: float) -> None:
    """All of them, for so long."""
    answers = [0]
    tasks = [asyncio.create_task(read(port, number % len(TARGETS), answers)) for number in range(readers)]
    await asyncio.sleep(lasts_s)
    for task in tasks:
        task.cancel()
    print(answers[0])


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
