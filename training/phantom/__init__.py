"""Synthetic chest radiographs with planted shortcuts of known strength: the project's own data.

Coordinates: x runs to the image's right from -1 to 1, y down from -1 to 1, z along the beam; lengths in half image sides.
"""
