"""Calibration of the audit: networks whose shortcut and true effect are known are audited like any other.

A *plant* is an edit of the rendered picture that goes with a class: a word, an electrode, a grey curve, the look of a source. It is pure,
and each image has its twin without it. A *case* is a plant with its strength: which share of one class carries it, how strong it is, or
that both classes carry it alike, that training never tied it to the class, or that only the names of sources go with the class.

Its *truth* is measured, not assumed, before the audit runs, by intervention at rendering: the mean total variation of the class
probabilities between the planted test images and their clean twins, over all images and over carriers; and between the two states of
each image (painted and not; R and L). A network that did not learn its plant (truth below 0.02) counts as a null network.

The networks of one corpus share a backbone, trained once to see plants and disease; a network is a head, fitted on cached features of
planted training images, so that it costs seconds. The audit runs the usual pipeline on the 128 planted test images, and knows
nothing of the plant.

    plants    what can be planted (`lettering`, `objects`, `properties`)      truth      what the plant does, by intervention
    corpus    pictures to plant into: phantoms, or real radiographs           trial      one case: built, then audited
    zoo       which cases there are, small and full                           table      rates, intervals, bias, coverage, targets
    networks  backbone, cached features, heads                                page       calibration.html
    own       the same with the user's network and data                       calibrate  all of it, resumable
"""
