# `headct` on a CPU, with the four bundles and what reads DICOM:
#   docker build -t headct .
#   docker run --rm --network none -u "$(id -u)" -v "$PWD:/data" headct predict scan --out report
FROM python:3.11-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim
# PyTorch's own index has builds without the 5 GB of CUDA libraries; every version is that of the lock
RUN --mount=type=bind,from=build,source=/source/requirements,target=/requirements \
    PIP_CONSTRAINT=/requirements/py311.txt pip install --no-cache-dir \
    --index-url https://download.pytorch.org/whl/cpu torch torchvision
RUN --mount=type=bind,from=build,source=/source/requirements,target=/requirements \
    --mount=type=bind,from=build,source=/wheels,target=/wheels \
    PIP_CONSTRAINT=/requirements/py311.txt pip install --no-cache-dir \
    "$(echo /wheels/*.whl)[dicom]"
# any user may run it: nothing is written but what is named, and matplotlib's fonts
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
RUN useradd --no-create-home headct
USER headct
WORKDIR /data
ENTRYPOINT ["headct"]
CMD ["--help"]
