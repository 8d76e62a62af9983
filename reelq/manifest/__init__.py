"""Reads a spreadsheet into checked rows and reports every fault at once.

checks.py    the entry points, `check` and `check_file`; rules across rows, and advice
readers.py   reads CSV, TSV and JSON Lines, in any encoding that spreadsheets write
columns.py   the columns, their names and aliases, and the row that they make
rows.py      turns one record into one row and validates each cell
inputs.py    looks up files by name: on disk, or among uploaded files
output.py    the names of result files
findings.py  collects faults and warnings
"""
