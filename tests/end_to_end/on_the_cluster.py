"""A program of somebody else's on the same Ray cluster: it reaches a bin as an actor and prints its state."""

import asyncio
import json
import sys

import ray

from actors.bin_handle import bin_at


async def main() -> None:
    bin_ = await bin_at("ray", "TEAPOT", "A-01")
    await bin_.receive(10, key="by ray 1")
    reserved = (await bin_.reserve(4)).view
    await bin_.pick(reserved["id"], 3)
    await bin_.release(reserved["id"])
    state = (await bin_.state()).view
    print(json.dumps({"reservation": reserved["id"], "state": state}))


ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
asyncio.run(main())
