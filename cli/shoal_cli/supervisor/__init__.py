"""The small supervisor behind `shoal up`: a cluster of one host, as child processes of one parent."""
