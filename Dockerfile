# Two images: `service` (API, workers, Flower, migrations) and `sandbox`, the simulation of NemoVideo with its encoder.
# docs/containers.md explains how to use them, and how to pin the base image by its digest.

# The tests run on Python 3.11.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

# Everything, including the encoder and the build tools of the wheel, in the locked versions.
FROM ${PYTHON_IMAGE} AS whole
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY locks/run.txt locks/
RUN python -m venv --without-pip /opt/reelq \
    && python -m pip --python /opt/reelq/bin/python install --no-deps --require-hashes --only-binary=:all: -r locks/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY reelq reelq
COPY worker worker
COPY api api
COPY sandbox sandbox
COPY migrations migrations
RUN python -m pip --python /opt/reelq/bin/python wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python -m pip --python /opt/reelq/bin/python install --no-deps --no-index --find-links /wheels reelq

# Only what a deployment needs: no encoder and no build tools.
FROM ${PYTHON_IMAGE} AS lean
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY locks/service.txt locks/
RUN python -m venv --without-pip /opt/reelq \
    && python -m pip --python /opt/reelq/bin/python install --no-deps --require-hashes --only-binary=:all: -r locks/service.txt
COPY --from=whole /wheels /wheels
RUN python -m pip --python /opt/reelq/bin/python install --no-deps --no-index --find-links /wheels reelq

# The common base of both images: a user of its own that can write only to the data folder.
FROM ${PYTHON_IMAGE} AS ground
RUN groupadd --gid 10001 reelq \
    && useradd --uid 10001 --gid reelq --home-dir /var/lib/reelq --create-home --shell /usr/sbin/nologin reelq \
    && chmod 700 /var/lib/reelq
COPY deploy/healthy.py /opt/healthy.py
# Celery and uvicorn import modules from the current folder first, so it is one that nobody can write to.
WORKDIR /opt/reelq
ENV PATH=/opt/reelq/bin:$PATH PYTHONUNBUFFERED=1 REELQ_DATA_DIR=/var/lib/reelq
STOPSIGNAL SIGTERM
USER 10001:10001

FROM ground AS sandbox
COPY --from=whole /opt/reelq /opt/reelq
EXPOSE 8750
CMD ["reelq", "sandbox", "--host", "0.0.0.0", "--port", "8750"]

# The last stage is the default target of a build.
FROM ground AS service
COPY --from=lean /opt/reelq /opt/reelq
EXPOSE 8000
CMD ["uvicorn", "api.app:app", "--host", "0.0.0.0", "--port", "8000"]
