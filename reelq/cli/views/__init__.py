"""How a batch is shown.

watch.py   follows a batch; shows it as plain lines, or as JSON Lines for programs
screen.py  live view on a terminal
report.py  the outcome so far, and the next step
text.py    formats counts, times and rows; escapes control characters in foreign text
"""
