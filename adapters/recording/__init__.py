"""Recorders: what a framework's own operations did, as a record of the reference's seven kinds of step."""
