"""Files that are not on this machine: objects behind an address, and files of the machine that started a run."""
