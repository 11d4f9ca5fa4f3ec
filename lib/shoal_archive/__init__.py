"""Archives as streams: what lies in them, what is put into them, and batches of objects that leave as one of them.

Nothing is unpacked to a disk, and nothing is held whole in memory but the list of members, which is bounded.
"""
