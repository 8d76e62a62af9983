"""The queue of a remote reelq service.

client.py    sends requests with the key, parses answers, raises failures as errors with a message
queue.py     implements the queue interface with requests
submit.py    submits a manifest: uploads its files, shows the cost, creates the batch
videos.py    downloads finished videos
transfer.py  progress of transfers, and retries
watch.py     follows a batch by its event stream
"""
