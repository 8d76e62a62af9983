"""reelq: a folder of clips and a spreadsheet in, finished videos out. The spine that every process shares."""
