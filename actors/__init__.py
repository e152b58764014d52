"""Who owns stock: hosts and their mailboxes, lanes, recovery, placement. Ray only in `ray_*` files."""
