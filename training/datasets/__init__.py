"""Published data sets as they unpack -> manifests: one module a publisher, and `covid` that joins them as the paper did."""

from audit.training.datasets.build import BUILDERS, build_manifest

__all__ = ["BUILDERS", "build_manifest"]
