"""The plugins are for processes of their own: collecting them here would import what crashes and hangs."""

collect_ignore = ["plugins"]
