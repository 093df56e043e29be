"""Learning a configuration from recordings: EM without truth, direct fits and a search with it.

What is learned is taken over group by group, and only where it proves itself on what counts, identities: without
truth where hidden objects come back as themselves more often (:mod:`tracker.tracking.cloze`), with truth where HOTA
rises on recordings that had no part in the search. The likelihood alone is no judge of that: most frames are easy,
and what fits them best is too sure of itself where objects meet.
"""
