# `mmseg-cascadepsp serve` on CPUs, as a user without rights:
#   docker build -t mmseg-cascadepsp .
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp mmseg-cascadepsp
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
# The plain index has torch for GPUs, which is several times as large. A mirror can take its place.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/app
ENV PATH=/opt/app/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements /src/requirements
RUN pip install "$(grep '^setuptools==' /src/requirements/env.txt)" \
    && pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' /src/requirements/env.txt)"
COPY . /src
# The tested versions of everything that the extras bring.
RUN sed 's/ *#.*//; /^torch==/d' /src/requirements/env.txt > /tmp/constraints.txt \
    && pip install --no-build-isolation -c /tmp/constraints.txt "/src[app,mmseg]"

FROM python:${PYTHON}-slim
# OpenCV is linked against these, though nothing opens a window.
RUN apt-get update && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin app
COPY --from=build /opt/app /opt/app
# What is fetched or cached while it runs goes to /tmp.
ENV PATH=/opt/app/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
# Options go behind the image's name: docker run ... mmseg-cascadepsp --max-megapixels 12
ENTRYPOINT ["mmseg-cascadepsp", "serve", "--host", "0.0.0.0"]
