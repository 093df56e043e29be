"""Tracks made better once the future is known: linked, pruned, smoothed, and their gaps filled.

The input is tracks alone, as any result file holds them. Four pieces, each of which can be switched off:

link
    A track that ends and one that begins later may be one object. From both sides a Gaussian is carried to the
    middle of the gap; how well the two agree, against the chance that somebody else was born there, gives the
    log odds of each pair, and one global assignment chooses among all pairs.
prune
    Tracks whose scores add up to little evidence go.
smooth
    Rauch-Tung-Striebel, with the noise of detector and motion learned from the tracks' own second differences.
fill
    A gap is filled where it probably is one object's and where bridges as long as this one, laid over stretches
    in which objects *were* seen, meet them. The bridge is a random walk pinned at both smoothed ends.

All lengths are in units of the object's scale g = sqrt(width x height) and all times are real, as in
:mod:`tracker.tracking.motion`. The numbers in capitals were fitted on real tracks with truth, once for all kinds.
"""
