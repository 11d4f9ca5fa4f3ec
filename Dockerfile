# One image for every process of Shoal; the command says which one it is.
#
#     docker build -t shoal .
#     docker build -t shoal --build-arg BASE_IMAGE=registry.example/python:3.11 .
#
# BASE_IMAGE is any glibc Linux with Python 3.11 or newer and its venv module.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /source
COPY pyproject.toml README.md ./
COPY gen ./gen
COPY lib ./lib
COPY services ./services
COPY gateway ./gateway
COPY sdk ./sdk
COPY cli ./cli
RUN python3 -m venv /opt/shoal && /opt/shoal/bin/pip install --no-cache-dir .

FROM ${BASE_IMAGE}
COPY --from=build /opt/shoal /opt/shoal
# A new volume takes over owner and mode of the folder that it is mounted at, so they are all made here.
RUN groupadd --gid 10001 shoal \
    && useradd --uid 10001 --gid shoal --no-create-home --home-dir /var/lib/shoal --shell /usr/sbin/nologin shoal \
    && install --directory --owner=shoal --group=shoal --mode=0700 \
        /var/lib/shoal /var/lib/shoal/authority /var/lib/shoal/certificates /var/lib/shoal/node \
        /var/lib/shoal/proxy /run/shoal
ENV PATH=/opt/shoal/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/shoal
CMD ["shoal", "--help"]
