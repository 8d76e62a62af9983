"""How a batch is shown.

watch.py   follows a batch, and chooses the view
screen.py  live view on a terminal
lines.py   plain lines for pipes, and JSON Lines for programs
report.py  the outcome so far, and the next step
text.py    formats counts, durations and rows; escapes control characters in foreign text
"""
