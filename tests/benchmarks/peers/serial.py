"""One row after another: the first script that most people write."""

from tests.benchmarks.peers.steps import Steps, jobs

if __name__ == "__main__":
    steps = Steps()
    for job in jobs():
        uploaded = steps.upload(job)
        edited = steps.verify(steps.edit(uploaded))
        rendered = steps.poll(steps.render(edited))
        steps.download(rendered)
