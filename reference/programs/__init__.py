"""Programs: the record of what a program did in one run, what it stands for exactly, and what it may give."""
