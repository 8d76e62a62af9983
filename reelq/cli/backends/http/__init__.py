"""The queue of a remote reelq service.

client.py     sends requests with the key, parses JSON answers, raises failures as errors with a message
queue.py      implements the queue interface with requests
submit.py     submits a manifest: uploads its files, shows the cost, creates the batch
uploads.py, videos.py, transfer.py  upload and download files, with progress and retries
watch.py      follows a batch by its event stream
resources.py  parses answers into the types that commands show
"""
