"""Jobs of this host as plain processes: groups, sessions, trees or control groups, stopped and continued as a whole.

``driver`` over all, ``members`` finds a job's processes, ``freezer`` and ``tasks`` stop them, ``record`` names what is
stopped, and ``guard`` lets it go on where nobody of ours is left to do so.
"""
