"""The big public data sets of the full profile, behind one door."""
