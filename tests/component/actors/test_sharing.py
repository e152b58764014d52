"""Nodes that come together get an even share together."""

from actors.newcomers import _LOOK_S, _SOUND_S
from tests.component.actors.growing import cluster


async def test_nodes_that_are_added_together_have_as_many_hosts_each() -> None:
    async with cluster(hosts=6) as c:
        c.s.launcher.node_names = ["", "added", "another"]
        await c.passes(_SOUND_S + 2 * _LOOK_S)
        assert {node: len(shares) for node, shares in c.shares().items()} == {"": 2, "added": 2, "another": 2}
