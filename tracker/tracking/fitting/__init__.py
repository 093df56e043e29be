"""Learning the tracker's numbers from recordings: the statistics of an E-step over whole sequences, and the M-step.

The model is the tracker's own. In each frame an object k is detected with probability P_D,k; its box has the
density L of :mod:`tracker.tracking.evidence` around the prediction, its score the density p1. What no object
explains, clutter and first detections of new objects alike, is a Poisson process of density c per unit of the box
space in units of g, with scores of density p0. The tracker knows p1/p0 alone, a power of the score's odds; with
the scores' own distribution m, which is left free, both densities follow (the exponential tilt of Anderson 1972):

    p0(s) ~ m(s) / (1 - pi + pi p1/p0(s)),    pi the share of objects among the detections.

The E-step is a run of the tracker, which leaves the responsibilities of all pairs. The M-step maximises the
expected log-likelihood, part by part, each with a prior that stands at the configuration one started from and
weighs as much as a stated number of observations:

- noise: with the responsibilities given, the whole recording is filtered anew for each trial of the noise, with the
  tracker's own prediction, update and adaptation, so that tails, damping and adaptation are as they will be;
- P_D and clutter: counts;
- score: logistic regression of the responsibilities on the log odds of the score.

For who owns a detection it is all one whether what no object explains is clutter or the first of a new object: the
two have one density, c. How many of each there are is counted besides, and said. Which of them begins an object the
tracker decides by the score, as it learns to while it runs.

References
----------
- Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm, JRSS B 39, 1977.
- Anderson, Separate Sample Logistic Discrimination, Biometrika 59, 1972.
"""
