"""Classifiers: networks, preprocessing, and the bundles that contain both."""
