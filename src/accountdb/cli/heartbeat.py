"""migratectl heartbeat."""

from __future__ import annotations

import os

from accountdb.cli import options
from accountdb.health.beating import beat_regions
from accountdb.render import output


def heartbeat(
    cn: options.CnDsn = None,
    global_: options.GlobalDsn = None,
    node: options.Nodes = None,
    dsn: options.Dsn = None,
    json: options.Json = False,
) -> int:
    """Write one beat in each region, by which status knows the lag in seconds; for cron, once a minute.

    Exit status 3 when a region got none.
    """
    one_region = dsn or (os.environ.get("DB_URL") and not (cn or global_ or node))
    made = beat_regions({"": options.one(dsn)} if one_region else options.regions(cn, global_, node, least=1))
    if json:
        output.say(output.as_json({"beats": made}))
    for one in made:
        name = f"{one.region}: " if one.region else ""
        if one.error:
            output.tell(f"{name}{one.error}", style="red")
        elif not json:
            output.say(f"{name}{one.at}")
    return 3 if any(one.error for one in made) else 0
