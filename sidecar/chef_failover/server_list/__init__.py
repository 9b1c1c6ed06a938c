"""The fleet's list of servers: fetched, checked, cached, followed."""
