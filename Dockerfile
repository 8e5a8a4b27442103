# ---- build: install the runtime packages, and collect the static files
FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /venv
COPY requirements/runtime.txt requirements/runtime.txt
RUN /venv/bin/pip install -r requirements/runtime.txt
COPY manage.py ./
COPY inventory_project inventory_project
COPY products products
# The settings need a key to load. The final image does not contain this one.
RUN rm -rf products/tests \
    && SECRET_KEY=unused-while-building /venv/bin/python manage.py collectstatic --no-input

# ---- run: Python, the packages and the code, with an unprivileged user
FROM python:3.13-slim-bookworm
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000
RUN useradd --system --no-create-home --uid 10001 inventory
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER inventory
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "\
import os, urllib.request as r; \
port = os.environ['PORT'].strip(' \\'\\\"') or '8000'; \
r.urlopen('http://127.0.0.1:' + port + '/health', timeout=4)"]
CMD ["python", "-m", "inventory_project.server"]
