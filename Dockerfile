# One image for every part of Binkeeper: Ray's head and workers, the supervisor, the API.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/binkeeper
ENV PATH=/opt/binkeeper/bin:$PATH
COPY requirements-installer.lock requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-installer.lock \
 && uv pip install --no-cache --require-hashes -r requirements.lock
COPY pyproject.toml LICENSE ./
COPY engine engine
COPY persistence persistence
COPY actors actors
COPY api api
COPY bench bench
COPY binkeeper binkeeper
RUN uv pip install --no-cache --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home binkeeper \
 && install --directory --owner=binkeeper --mode=0700 /var/lib/binkeeper
COPY --from=build /opt/binkeeper /opt/binkeeper
ENV PATH=/opt/binkeeper/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    BINKEEPER_HOME=/var/lib/binkeeper
USER binkeeper
WORKDIR /home/binkeeper
EXPOSE 8000
CMD ["python", "-m", "binkeeper.http"]
