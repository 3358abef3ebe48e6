"""From a number to the images behind it: every image of a finished run, in a local page, on a terminal and in a notebook."""
