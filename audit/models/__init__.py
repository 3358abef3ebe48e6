"""Classifiers: networks, preprocessing, and the bundles that hold both."""
