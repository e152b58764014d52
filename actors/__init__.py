"""Who owns stock: hosts and their mailboxes, lanes to reach them, recovery, placement. Ray only in `ray_*` files."""
