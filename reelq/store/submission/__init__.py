"""Turns a manifest into jobs.

request.py     what is submitted, and the key of each row: equal work has an equal key
planner.py     decides what happens to each row; reads only
submitter.py   carries out the plan in one transaction
new_jobs.py    inserts jobs for the rows that are new
refinement.py  further instructions for the agent, in the session of an existing row
"""
