"""How many images get a heatmap where the user names no number: it follows from counts of predictions, never from a clock."""

from __future__ import annotations

from audit.data.plan import Plan

USUAL_MAPS = 500
"""Images that get a heatmap where one costs about as much as a prediction."""
LEAST_MAPS = 4
"""Images that get one whatever it costs: enough to see how the network looks at an image."""


def default_maps(n_predictions: int, cost: int) -> int:
    """Return how many images get a heatmap, at most.

    Parameters
    ----------
    n_predictions : int
        Predictions of the audit: the heatmaps take no more, but for the first few.
    cost : int
        Predictions that one image's heatmaps take; 0 where they come from layers or gradients.
    """
    return min(USUAL_MAPS, max(LEAST_MAPS, n_predictions // cost)) if cost else USUAL_MAPS


def map_limit_in_words(plan: Plan) -> str:
    """Return that fewer images have a heatmap than were audited because of the cost, and how to get more; empty otherwise."""
    made, n_images, cost = plan.relevance.max_images, plan.data.n_images, plan.relevance.cost
    if not cost or not 0 < made < n_images:
        return ""
    return (
        f"Heatmaps are made of {made} of {n_images} images: by occlusion, those of one image take up to {cost} predictions. For all "
        f"of them use --relevance-images {n_images}."
    )
